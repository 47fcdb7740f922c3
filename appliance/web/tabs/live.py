"""Live: the player, in a frame of our own origin."""

import gradio as gr

from appliance.settings import Role
from appliance.texts import marked
from appliance.web.context import TabContext
from appliance.web.tabs import Tab, constant


def build(context: TabContext, _: gr.Blocks) -> None:
    """One constant frame; everything that moves is the player's."""
    constant(context, "live.html")


TAB = Tab(marked("Live"), 10, Role.VIEWER, build)
