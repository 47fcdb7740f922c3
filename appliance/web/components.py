"""Parts that tabs are made of on Gradio's page."""

from datetime import UTC, datetime

import gradio as gr

from appliance.web.context import TabContext


def rendered(context: TabContext, template: str, **values: object) -> str:
    """HTML with every value escaped by the template, in one line.

    Markdown takes an indented line for code, and an empty one for the end of the HTML.
    """
    text = context.pages.render(template, context.texts, **values)
    return "".join(line.strip() for line in text.splitlines())


def document(context: TabContext, template: str, **values: object) -> str:
    """The same for a part of a tab that comes anew; it carries its time, `at_s` and `at`."""
    now_s = context.reading().now_s
    at = datetime.fromtimestamp(now_s, UTC).astimezone()
    return rendered(context, template, at_s=f"{now_s:.3f}", at=f"{at:%H:%M:%S}", **values)


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
