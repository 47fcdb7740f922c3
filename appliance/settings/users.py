"""The people who may open the page: lines of `name:role:hash`."""

import re
from collections import Counter
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr

from appliance.settings.forms import json_list
from appliance.settings.secrets import HASH_COMMAND, is_hash, normalized

_NAME = re.compile(r"[\w.@+-]{1,64}")
# A comma parts two users only before another `name:role:`, because argon2's own form of a
# hash holds commas too.
_BETWEEN_USERS = re.compile(r"[\r\n]+|,(?=[^:,\r\n]*:[^:,\r\n]*:)|,\s*$")
_OTHER_KIND = re.compile(r"[.$]?argon2[id][.$]v=")
# Known ways to damage a hash, the telling ones first.
_DAMAGES = (
    (re.compile(r"\$\$"), "with its $ signs doubled, which only a Compose file takes back"),
    (re.compile(r"\\|%24|&#"), "with its $ signs escaped, which nothing took back"),
    (
        re.compile(r"argon2.*['\"]|['\"].*argon2"),
        "with quotes in it: quote the whole value or nothing",
    ),
    (
        re.compile(r"argon2id|=19|=\d+,t="),
        "as when a shell or a Compose file replaces its $ signs, or a copy loses a letter",
    ),
)


class Role(StrEnum):
    """What a person may do; each role may do all that the one before may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, least: "Role") -> bool:
        """Whether it may do all that `least` may."""
        order = list(Role)
        return order.index(self) >= order.index(least)


class User(BaseModel):
    """One person.

    Attributes:
        name: what they type to log in; unique, also when case is ignored.
        role: what they may do.
        hash: of their password, in the form of `appliance.settings.secrets`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str
    role: Role
    hash: SecretStr


def parse_users(value: object) -> object:
    """Users from the text of a variable or a file; anything but text is passed on.

    Raises:
        ValueError: names every entry that is wrong by its position, never by its text.
    """
    if not isinstance(value, str):
        return value
    entries = json_list(value)
    if entries is None:
        entries = [entry.strip() for entry in _BETWEEN_USERS.split(value)]
    fields = [_fields(entry) for entry in entries if entry]
    wrong = [
        f"entry {position} {problem}"
        for position, (name, role, hash_text) in enumerate(fields, start=1)
        if (problem := _problem(name, role, hash_text))
    ]
    counts = Counter(name.casefold() for name, _, _ in fields)
    repeated = [str(at) for at, entry in enumerate(fields, 1) if counts[entry[0].casefold()] > 1]
    if repeated:
        wrong.append(f"entries {' and '.join(repeated)} have the same name")
    if wrong:
        raise ValueError("; ".join(wrong))
    return tuple(
        User(name=name, role=Role(role), hash=SecretStr(normalized(hash_text)))
        for name, role, hash_text in fields
    )


Users = Annotated[tuple[User, ...], BeforeValidator(parse_users)]


def _fields(entry: str) -> tuple[str, str, str]:
    """Name, role and hash of one entry; those that are missing are empty."""
    name, role, hash_text, *_ = *(part.strip() for part in entry.split(":", 2)), "", "", ""
    return name, role.lower(), hash_text


def _problem(name: str, role: str, hash_text: str) -> str:
    """What is wrong with one entry, or nothing."""
    if not _NAME.fullmatch(name):
        return "has a name with other characters than letters, digits and . _ @ + -"
    if role not in tuple(Role):
        return f"has a role that is none of {', '.join(Role)}"
    if not hash_text:
        return (
            f"has no hash; if there was one, a shell or a Compose file replaced its $ signs: "
            f"`{HASH_COMMAND}` makes hashes without them"
        )
    if is_hash(hash_text):
        return ""
    for pattern, how in _DAMAGES:
        if pattern.search(hash_text) and not _OTHER_KIND.match(hash_text):
            return (
                f"has a hash that arrived damaged, {how}: "
                f"`{HASH_COMMAND}` makes hashes that nothing takes apart"
            )
    return f"has something else than an argon2id hash; `{HASH_COMMAND}` makes one"
