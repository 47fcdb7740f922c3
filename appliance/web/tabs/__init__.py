"""The tabs of the Gradio page: each is one module with a constant TAB.

A tab is shown by role, and its handlers ask again: what is hidden on a page can still be called.
"""

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from appliance.settings import Role
from appliance.web.context import TabContext
from appliance.web.plots import time_of_day


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab.

    Attributes:
        title: as on the page, noted for the catalog.
        order: from left to right.
        role: the least role that sees it.
        build: makes the tab's components, inside its gr.Tab of the page.
    """

    title: str
    order: int
    role: Role
    build: Callable[[TabContext, gr.Blocks], None]


def rendered(context: TabContext, template: str, **values: object) -> str:
    """HTML with every value escaped by the template, in one line.

    Markdown takes an indented line for code, and an empty one for the end of the HTML.
    """
    text = context.pages.render(template, context.texts, **values)
    return "".join(line.strip() for line in text.splitlines())


def document(context: TabContext, template: str, **values: object) -> str:
    """The same for a part of a tab that comes anew; it carries its time, `at_s` and `at`."""
    now_s = context.reading().now_s
    at = time_of_day(now_s, "%H:%M:%S")
    return rendered(context, template, at_s=f"{now_s:.3f}", at=at, **values)


def document_place(*classes: str) -> gr.Markdown:
    """Where a document goes."""
    return gr.Markdown(sanitize_html=False, latex_delimiters=[], elem_classes=["bare", *classes])


def asking_button() -> gr.Button:
    """What static/outer/documents.js clicks, unseen, to have the documents of a tab brought."""
    return gr.Button(elem_classes="ask")


def constant(context: TabContext, template: str, **values: object) -> None:
    """A part of a tab that never changes by itself, from a template of ours."""
    gr.Markdown(
        rendered(context, template, **values),
        sanitize_html=False,
        latex_delimiters=[],
        elem_classes="bare",
    )
