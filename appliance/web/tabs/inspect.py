"""Inspect: a picture that a person brings, and what a model in use sees in it.

The page is constant; everything that moves is our script's, which asks the station by
`web/inspecting.py`. Gradio's own upload would keep each picture as a file.
"""

import gradio as gr

from appliance.settings import Role
from appliance.texts import marked
from appliance.web.context import TabContext
from appliance.web.tabs import Tab, constant


def build(context: TabContext, _: gr.Blocks) -> None:
    """The page, with the models and cameras there are."""
    reading = context.reading()
    constant(
        context,
        "inspect.html",
        cameras=reading.cameras,
        models=[engine.model for engine in reading.engines],
        limits=context.limits(),
        usual=context.usual,
    )


TAB = Tab(marked("Inspect"), 20, Role.OPERATOR, build)
