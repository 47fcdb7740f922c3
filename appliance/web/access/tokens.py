"""The bearer tokens of machines, as requests bring them.

Players and recorders often know names and passwords only: a token may come as the password, with
any name.
"""

import base64
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.settings.tokens import TOKEN_COMMAND, Token, TokenScope, digest, token_of
from appliance.web.asgi import Scope, header

SIMPLE_SCOPES = (TokenScope.METRICS, TokenScope.READY)


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a token opens nothing here: the status of the answer, and a sentence."""

    status: int
    text: str


class Bearers:
    """Judges the Authorization header of requests.

    Args:
        tokens: of the settings.
        simple: one that opens metrics and readiness, and never expires; None for none.
        wall_s: wall clock, for expiry.
    """

    def __init__(
        self, tokens: Sequence[Token], *, simple: str | None, wall_s: Callable[[], float]
    ) -> None:
        own = () if simple is None else (token_of(simple, "metrics_token", SIMPLE_SCOPES, None),)
        self._tokens = (*tokens, *own)
        self._wall_s = wall_s

    def denial(self, scope: Scope, wanted: TokenScope) -> Denial | None:
        """The reason to refuse a request that asks for `wanted`; None where its token opens it."""
        token = self._find(bearer_of(scope) or password_of(scope))
        if token is None:
            return Denial(401, "A bearer token is needed.")
        if token.is_over(self._wall_s()):
            told = f"This token expired on {token.expires}: `{TOKEN_COMMAND}` makes another."
            return Denial(401, told)
        if wanted not in token.scopes:
            return Denial(403, f"This token lacks the scope {wanted}.")
        return None

    def name(self, scope: Scope) -> str:
        """What the settings call the token that a request brings; empty where there is none."""
        token = self._find(bearer_of(scope) or password_of(scope))
        return token.name if token is not None else ""

    def _find(self, text: str) -> Token | None:
        """Every hash is compared, in constant time: how long it takes says nothing."""
        if not text:
            return None
        given = digest(text)
        found = None
        for token in self._tokens:
            if hmac.compare_digest(given, token.hash.get_secret_value()):
                found = token
        return found


def bearer_of(scope: Scope) -> str:
    """The token that a request brings; empty where it brings none."""
    scheme, _, token = header(scope, b"authorization").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def password_of(scope: Scope) -> str:
    """The password of a request's Basic credentials; empty where it brings none."""
    scheme, _, pair = header(scope, b"authorization").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(pair.strip(), validate=True).decode().partition(":")[2]
    except ValueError:  # no base64, or no text
        return ""
