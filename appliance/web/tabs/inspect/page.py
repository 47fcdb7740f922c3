"""Inspect: a picture that a person brings, and what a model in use sees in it.

The page is constant; everything that moves is our script's, which asks the station by
`routes.py`. Gradio's own upload would keep each picture as a file.
"""

from appliance.web.components import constant
from appliance.web.context import TabContext


def build(context: TabContext) -> None:
    """The page, with the models and cameras there are."""
    reading = context.reading()
    constant(
        context,
        "inspect/page.html",
        cameras=reading.cameras,
        models=[engine.model for engine in reading.engines],
        limits=context.limits(),
        usual=context.usual,
    )
