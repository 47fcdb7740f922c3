"""Live: the player, which stands beside Gradio's part, not to wait for it."""

from appliance.settings import Role
from appliance.texts import marked
from appliance.web.tab import Tab

TAB = Tab(marked("Live"), 10, Role.VIEWER, letter="L")
