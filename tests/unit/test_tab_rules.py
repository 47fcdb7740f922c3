"""What a tab's rules can reach: its own prefix, for the people who see it, and nothing else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ApplianceError
from appliance.settings import Role
from appliance.settings.tokens import TokenScope
from appliance.web.access.routes import RULES, Audience, Rule, below, find, rule
from appliance.web.tab import every_rule, known_tabs, prefix_of

PREFIX = "/api/zoo"
ELSEWHERE = [
    "/",
    "/login",
    "/live",
    "/metrics",
    "/static/public/tokens.css",
    "/api/override",
    "/api/inspect",
    "/api/zoology",
    "/api/zo",
    "/api",
    "/ui/config",
    "/ui/gradio_api/upload",
    "/API/ZOO",
    "/x/api/zoo",
]
GREEDY = [
    ".*",
    r"[\s\S]*",
    "|/login",
    "|.*",
    "logy",
    "/x|/ui/config|.*",
    "/../login",
    "(?:|/login)",
    r"(?=.*)/?.*",
    r"(?<=/api/zoo).*",
]


@pytest.mark.parametrize("pattern", GREEDY)
def test_a_tabs_rule_opens_nothing_outside_its_own_prefix(pattern):
    """However greedy a pattern is, or however it was meant."""
    own = below(PREFIX, [rule(pattern, Role.VIEWER, "GET")], least=Role.VIEWER)
    assert {path: find(path, "GET", own) for path in ELSEWHERE} == dict.fromkeys(ELSEWHERE)


@given(st.from_regex(r"[a-z/|.*()?\\]{0,12}", fullmatch=True), st.sampled_from(ELSEWHERE))
def test_no_pattern_at_all_reaches_further(pattern, path):
    """What is a pattern by itself stays one below the prefix; what is none is no rule."""
    try:
        own = [rule(pattern, Role.VIEWER, "GET")]
    except re.error:
        return
    assert find(path, "GET", below(PREFIX, own, least=Role.VIEWER)) is None


def test_a_tabs_rule_names_what_follows_its_prefix():
    """The prefix itself, and paths below it; a method that it does not name stays closed."""
    patterns = ("", "/animals/[a-z]+")
    own = below(PREFIX, [rule(each, Role.ADMIN, "POST") for each in patterns], least=Role.VIEWER)
    assert [find(path, "POST", own) for path in ("/api/zoo", "/api/zoo/animals/cat")] == list(own)
    for path in ("/api/zoo/", "/api/zoo/animals", "/api/zoo/animals/cat/x"):
        assert find(path, "POST", own) is None
    assert find("/api/zoo", "GET", own) is None


@pytest.mark.parametrize("audience", [*Audience, *TokenScope, Role.VIEWER])
def test_a_tab_opens_nothing_to_people_who_do_not_see_it(audience):
    """Neither to strangers, nor to machines, nor to a lesser role."""
    greedy = Rule(re.compile("/x"), audience, frozenset({"GET"}))
    with pytest.raises(ApplianceError, match="/api/zoo/x: expected operator or more, got "):
        below(PREFIX, [greedy], least=Role.OPERATOR)


def test_a_tab_changes_no_rule_of_the_stations_own():
    """Those come first, and no path of the station's own lies below a tab's prefix."""
    assert every_rule()[: len(RULES)] == RULES
    places = {each.pattern.pattern for each in RULES}
    for key in known_tabs():
        assert not {place for place in places if place.startswith(prefix_of(key))}


def test_every_rule_of_a_tab_has_a_route_of_the_tab():
    """A rule without a route is left over from one."""
    for key, tab in known_tabs().items():
        assert bool(tab.rules) == (tab.router is not None), key
