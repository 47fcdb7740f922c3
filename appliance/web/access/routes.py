"""Which requests are let through, and for whom: everything else is refused.

A new route answers nobody until it stands here. The patterns name paths below the base path.
"""

import re
from dataclasses import dataclass, replace
from enum import Enum

from appliance.settings import Role
from appliance.settings.model import MOST_PICTURE_MB
from appliance.settings.tokens import TokenScope
from appliance.texts import LANGUAGES

KIB = 1024


class Audience(Enum):
    """Who may call a route, beside a role and the bearer of a token.

    Attributes:
        ANYBODY: whatever the host and all else that the request says: load balancers know no name
            of ours, and bring what they bring.
        STRANGER: whoever is not signed in, and calls the page by a name that is ours.
    """

    ANYBODY = "anybody"
    STRANGER = "stranger"


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of request.

    Attributes:
        pattern: matches the whole path below the base path.
        audience: a stranger, the bearer of a token with this scope, or the least role.
        methods: HTTP methods, or "WEBSOCKET".
        body_limit: largest request body, bytes.
        page: a document that gets a nonce into its script tags.
        by_hand: a person's doing, which keeps a session alive; a page that refreshes itself
            does not.
        opened_by: a token with this scope does as well as a session.
        of_page: one of an open page of Gradio, which its hash names; see `Joined`.
    """

    pattern: re.Pattern[str]
    audience: Audience | TokenScope | Role
    methods: frozenset[str]
    body_limit: int = 0
    page: bool = False
    by_hand: bool = True
    opened_by: TokenScope | None = None
    of_page: bool = False


def _rule(
    pattern: str,
    audience: Audience | TokenScope | Role,
    *methods: str,
    body_limit: int = 0,
    page: bool = False,
    by_hand: bool = True,
    opened_by: TokenScope | None = None,
) -> Rule:
    names = frozenset(methods or ("GET", "HEAD"))
    return Rule(re.compile(pattern), audience, names, body_limit, page, by_hand, opened_by)


def _of_page(pattern: str, *methods: str, body_limit: int = 0) -> Rule:
    """What an open page of Gradio does by itself."""
    rule = _rule(pattern, Role.VIEWER, *methods, body_limit=body_limit, by_hand=False)
    return replace(rule, of_page=True)


_ID = r"[A-Za-z0-9_-]{1,64}"
REPORT = re.compile(r"/engines/[A-Za-z0-9][A-Za-z0-9._-]{0,127}/report")

RULES: tuple[Rule, ...] = (
    # Strangers: the way in, and nothing else.
    _rule(r"/login", Audience.STRANGER, "GET", "HEAD"),
    _rule(r"/login", Audience.STRANGER, "POST", body_limit=4 * KIB),
    _rule(r"/static/public/[a-z0-9._-]+", Audience.STRANGER),
    _rule(r"/api/health", Audience.ANYBODY),
    # The authority's certificate: no secret, and who does not trust the page yet must not have to
    # send a password to come to trust it.
    _rule(r"/ca\.crt", Audience.STRANGER),
    # Machines.
    _rule(r"/api/ready", TokenScope.READY),
    _rule(r"/metrics", TokenScope.METRICS),
    # Everybody who is signed in.
    _rule(r"/", Role.VIEWER),
    _rule(r"/logout", Role.VIEWER, "POST", body_limit=4 * KIB),
    _rule(r"/player", Role.VIEWER),
    _rule(r"/static/(?!public/)[a-z0-9/._-]+", Role.VIEWER),
    _rule(r"/live", Role.VIEWER, "WEBSOCKET"),
    # And programs that record or show what cameras see.
    _rule(
        r"/api/cameras/[a-z0-9_]+/(stream|snapshot)",
        Role.VIEWER,
        "GET",
        by_hand=False,
        opened_by=TokenScope.PICTURES,
    ),
    # Operators.
    _rule(REPORT.pattern, Role.OPERATOR),
    _rule(r"/api/inspect", Role.OPERATOR, "POST", body_limit=MOST_PICTURE_MB * 1_000_000),
    _rule(r"/api/cameras/[a-z0-9_]+/picture", Role.OPERATOR, "GET"),
    _rule(r"/api/override", Role.OPERATOR, "POST", body_limit=16 * KIB),
    _rule(r"/api/override", Role.OPERATOR, "DELETE"),
    # Admins.
    _rule(r"/api/support-bundle", Role.ADMIN, "GET"),
    # Gradio's page: the document, its files, and the events of the tabs.
    _rule(rf"/ui/({'|'.join(LANGUAGES[1:])})?", Role.VIEWER, page=True),
    _rule(r"/ui/config", Role.VIEWER),
    _rule(r"/ui/theme\.css", Role.VIEWER),
    _rule(r"/ui/(assets|static|svelte)/[A-Za-z0-9/._@-]+", Role.VIEWER),
    _of_page(r"/ui/gradio_api/heartbeat/" + _ID),
    _of_page(r"/ui/gradio_api/queue/data"),
    _of_page(r"/ui/gradio_api/queue/join", "POST", body_limit=256 * KIB),
)


def find(path: str, method: str) -> Rule | None:
    """The rule for a request, or None: refuse it."""
    if ".." in path or "//" in path:
        return None
    for rule in RULES:
        if method in rule.methods and rule.pattern.fullmatch(path):
            return rule
    return None
