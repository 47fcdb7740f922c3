"""Live: the player. It stands in the page's own HTML (pages/live.html), not to wait for Gradio."""

import gradio as gr

from appliance.settings import Role
from appliance.texts import marked
from appliance.web.context import TabContext
from appliance.web.tabs import Tab


def build(_context: TabContext, _page: gr.Blocks) -> None:
    """Nothing: the tab shows what lies beside Gradio's part of the page."""


TAB = Tab(marked("Live"), 10, Role.VIEWER, build)
