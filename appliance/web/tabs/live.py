"""Live: the player, in a frame of our own origin."""

import gradio as gr

from appliance.settings import Role
from appliance.web.context import TabContext
from appliance.web.tabs import Tab


def build(context: TabContext, _: gr.Blocks) -> None:
    """One constant frame; everything that moves is the player's."""
    gr.Markdown(
        f'<iframe class="player-frame" src="{context.base}/player" title="Live pictures"></iframe>',
        sanitize_html=False,
        latex_delimiters=[],
        elem_classes="bare",
    )


TAB = Tab("Live", 10, Role.VIEWER, build)
