"""Tokens with which machines read: lines of `name:scopes:expiry:hash`.

A token is 256 random bits, so its hash is plain SHA-256: a slow hash and a salt help against
lists of likely passwords, and there is no list of 2**256. Machines also call often; argon2 would
cost each call what a sign-in costs.
"""

import hashlib
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr

from appliance.settings.forms import split_list

TOKEN_COMMAND = "appliance token new"  # noqa: S105 - what a person runs to make one
TOKEN_BYTES = 32
NOTICE_DAYS = 14

_NAME = re.compile(r"[\w.@+-]{1,64}")
_HASH = re.compile(r"[0-9a-f]{64}")
_BETWEEN_SCOPES = "+"


class TokenScope(StrEnum):
    """What a token opens."""

    METRICS = "metrics"
    PICTURES = "pictures"
    READY = "ready"


class Token(BaseModel):
    """One machine's token.

    Attributes:
        name: of the machine; unique, also when case is ignored.
        scopes: what it opens.
        expires: the first day, in UTC, on which it opens nothing; None for never.
        hash: SHA-256 of the token, 64 lower-case hex digits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str
    scopes: frozenset[TokenScope]
    expires: date | None
    hash: SecretStr

    def line(self) -> str:
        """As it stands in the settings."""
        scopes = _BETWEEN_SCOPES.join(sorted(self.scopes))
        return f"{self.name}:{scopes}:{self.expires}:{self.hash.get_secret_value()}"

    def is_over(self, now_s: float) -> bool:
        """Whether it has expired at this wall clock."""
        return self.expires is not None and now_s >= _midnight_s(self.expires)


def new_token(name: str, scopes: Iterable[TokenScope], expires: date) -> tuple[str, Token]:
    """A fresh token, which nobody can read again, and what the settings need of it."""
    text = secrets.token_urlsafe(TOKEN_BYTES)
    return text, token_of(text, name, scopes, expires)


def token_of(text: str, name: str, scopes: Iterable[TokenScope], expires: date | None) -> Token:
    """What is kept of a token whose text is known."""
    return Token(name=name, scopes=frozenset(scopes), expires=expires, hash=SecretStr(digest(text)))


def digest(text: str) -> str:
    """The hash of a token."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def check_token_name(name: str) -> str:
    """A name that fits into a line of the settings.

    Raises:
        ValueError: it does not.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("has a name with other characters than letters, digits and . _ @ + -")
    return name


def notices(tokens: Sequence[Token], now_s: float) -> Iterator[str]:
    """A sentence for each token that has expired or soon will."""
    for token in tokens:
        if token.expires is None:
            continue
        days = (_midnight_s(token.expires) - now_s) / timedelta(days=1).total_seconds()
        if days <= 0:
            told = "expired"
        elif days <= NOTICE_DAYS:
            told = "expires"
        else:
            continue
        yield f"The token {token.name} {told} on {token.expires}: {TOKEN_COMMAND} makes another"


def parse_tokens(value: object) -> object:
    """Tokens from the text of a variable or a file; anything but text is passed on.

    Raises:
        ValueError: names every entry that is wrong by its position, never by its text.
    """
    if not isinstance(value, str):
        return value
    entries = split_list(value)
    assert isinstance(entries, tuple)  # noqa: S101 - texts come back as a tuple
    tokens: list[Token] = []
    wrong: list[str] = []
    for position, entry in enumerate(entries, start=1):
        try:
            tokens.append(_parsed(entry))
        except ValueError as error:
            wrong.append(f"entry {position} {error}")
    counts = Counter(token.name.casefold() for token in tokens)
    if any(count > 1 for count in counts.values()):
        wrong.append("two entries have the same name")
    if wrong:
        raise ValueError("; ".join(wrong))
    return tuple(tokens)


Tokens = Annotated[tuple[Token, ...], BeforeValidator(parse_tokens)]


def _parsed(entry: str) -> Token:
    parts = [part.strip() for part in entry.split(":")]
    if len(parts) != 4:
        raise ValueError("is not name:scopes:expiry:hash")
    name, scopes, expires, hash_text = parts
    check_token_name(name)
    known = {scope.value: scope for scope in TokenScope}
    wanted = scopes.lower().split(_BETWEEN_SCOPES)
    if not set(wanted) <= set(known):
        raise ValueError(f"has a scope that is none of {', '.join(known)}")
    try:
        day = date.fromisoformat(expires)
    except ValueError:
        raise ValueError("has an expiry that is no date such as 2027-01-31") from None
    if not _HASH.fullmatch(hash_text.lower()):
        raise ValueError(f"has something else than 64 hex digits; `{TOKEN_COMMAND}` makes them")
    chosen = frozenset(known[scope] for scope in wanted)
    return Token(name=name, scopes=chosen, expires=day, hash=SecretStr(hash_text.lower()))


def _midnight_s(day: date) -> float:
    return datetime.combine(day, time(), UTC).timestamp()
