"""People: who is signed in, how to end that, and what was done."""

from appliance.settings import Role
from appliance.texts import marked
from appliance.web.tab import Tab

TAB = Tab(marked("People"), 80, Role.ADMIN, letter="P")
