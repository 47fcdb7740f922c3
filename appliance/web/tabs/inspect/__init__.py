"""Inspect: a picture that a person brings, and what a model in use sees in it."""

from appliance.settings import Role
from appliance.settings.model import MOST_PICTURE_MB
from appliance.texts import marked
from appliance.web.access.routes import rule
from appliance.web.tab import Tab
from appliance.web.tabs.inspect.routes import router

TAB = Tab(
    marked("Inspect"),
    20,
    Role.OPERATOR,
    letter="I",
    rules=(
        rule("", Role.OPERATOR, "POST", body_limit=MOST_PICTURE_MB * 1_000_000),
        rule("/cameras/[a-z0-9_]+", Role.OPERATOR, "GET"),
    ),
    router=router,
)
