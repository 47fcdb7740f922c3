"""System: what a person without a shell needs to know of the station."""

from appliance.settings import Role
from appliance.texts import marked
from appliance.web.access.routes import rule
from appliance.web.tab import Tab
from appliance.web.tabs.system.routes import router

TAB = Tab(
    marked("System"),
    90,
    Role.OPERATOR,
    letter="S",
    rules=(
        rule("/reports/[A-Za-z0-9][A-Za-z0-9._-]{0,127}", Role.OPERATOR, sandboxed=True),
        rule("/support-bundle", Role.ADMIN, "GET"),
    ),
    router=router,
)
