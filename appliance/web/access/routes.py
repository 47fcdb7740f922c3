"""Which requests are let through, and for whom: everything else is refused.

A new route answers nobody until it stands here, or among the rules of a tab, which reach no further
than the tab's own prefix. The patterns name paths below the base path.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from appliance.errors import ApplianceError
from appliance.settings import Role
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
        sandboxed: a document of its own that loads nothing: it may do no more than lie there.
    """

    pattern: re.Pattern[str]
    audience: Audience | TokenScope | Role
    methods: frozenset[str]
    body_limit: int = 0
    page: bool = False
    by_hand: bool = True
    opened_by: TokenScope | None = None
    of_page: bool = False
    sandboxed: bool = False


def rule(
    pattern: str,
    audience: Audience | TokenScope | Role,
    *methods: str,
    body_limit: int = 0,
    page: bool = False,
    by_hand: bool = True,
    sandboxed: bool = False,
) -> Rule:
    """A rule, for GET and HEAD unless it names other methods; see `Rule`."""
    return Rule(
        re.compile(pattern),
        audience,
        frozenset(methods or ("GET", "HEAD")),
        body_limit,
        page=page,
        by_hand=by_hand,
        sandboxed=sandboxed,
    )


def _of_page(pattern: str, *methods: str, body_limit: int = 0) -> Rule:
    """What an open page of Gradio does by itself."""
    own = rule(pattern, Role.VIEWER, *methods, body_limit=body_limit, by_hand=False)
    return replace(own, of_page=True)


_ID = r"[A-Za-z0-9_-]{1,64}"

RULES: tuple[Rule, ...] = (
    # Strangers: the way in, and nothing else.
    rule(r"/login", Audience.STRANGER, "GET", "HEAD"),
    rule(r"/login", Audience.STRANGER, "POST", body_limit=4 * KIB),
    rule(r"/static/public/[a-z0-9._-]+", Audience.STRANGER),
    rule(r"/api/health", Audience.ANYBODY),
    # The authority's certificate: no secret, and who does not trust the page yet must not have to
    # send a password to come to trust it.
    rule(r"/ca\.crt", Audience.STRANGER),
    # Machines.
    rule(r"/api/ready", TokenScope.READY),
    rule(r"/metrics", TokenScope.METRICS),
    # Everybody who is signed in.
    rule(r"/", Role.VIEWER),
    rule(r"/logout", Role.VIEWER, "POST", body_limit=4 * KIB),
    rule(r"/player", Role.VIEWER),
    rule(r"/static/(?!public/)[a-z0-9/._-]+", Role.VIEWER),
    rule(r"/live", Role.VIEWER, "WEBSOCKET"),
    # And programs that record or show what cameras see.
    replace(
        rule(r"/api/cameras/[a-z0-9_]+/(stream|snapshot)", Role.VIEWER, "GET", by_hand=False),
        opened_by=TokenScope.PICTURES,
    ),
    # Operators, on more than one tab.
    rule(r"/api/override", Role.OPERATOR, "POST", body_limit=16 * KIB),
    rule(r"/api/override", Role.OPERATOR, "DELETE"),
    # Gradio's page: the document, its files, and the events of the tabs.
    rule(rf"/ui/({'|'.join(LANGUAGES[1:])})?", Role.VIEWER, page=True),
    rule(r"/ui/config", Role.VIEWER),
    rule(r"/ui/theme\.css", Role.VIEWER),
    rule(r"/ui/(assets|static|svelte)/[A-Za-z0-9/._@-]+", Role.VIEWER),
    _of_page(r"/ui/gradio_api/heartbeat/" + _ID),
    _of_page(r"/ui/gradio_api/queue/data"),
    _of_page(r"/ui/gradio_api/queue/join", "POST", body_limit=256 * KIB),
)


def below(prefix: str, rules: Sequence[Rule], *, least: Role) -> tuple[Rule, ...]:
    """Rules of a tab, whose patterns name the rest of a path that begins with `prefix`.

    Whatever a pattern says, it matches nothing else: neither another path, nor another tab whose
    prefix begins with the same letters.

    Raises:
        ApplianceError: a rule is for strangers, for machines, or for people who do not see the tab.
    """
    for each in rules:
        audience = each.audience
        if not isinstance(audience, Role) or not audience.covers(least):
            raise ApplianceError(
                f"{prefix}{each.pattern.pattern}: expected {least} or more, got {audience}"
            )
    start = rf"{re.escape(prefix)}(?=/|\Z)"
    return tuple(
        replace(each, pattern=re.compile(f"{start}(?:{each.pattern.pattern})")) for each in rules
    )


def find(path: str, method: str, rules: Sequence[Rule] = RULES) -> Rule | None:
    """The rule for a request, the first that matches it, or None: refuse it."""
    if ".." in path or "//" in path:
        return None
    for each in rules:
        if method in each.methods and each.pattern.fullmatch(path):
            return each
    return None
