"""Password hashes in a form that survives every way of writing environment variables.

argon2's own form, `$argon2id$v=19$m=65536,t=3,p=4$SALT$HASH`, is taken apart by shells and by
Compose (which read `$argon2id` as a variable) and by lists (which split at the commas). Ours
is the same with `.` for `$` and `~` for `,`: `argon2id.v=19.m=65536~t=3~p=4.SALT.HASH`.
"""

import base64
import re
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError, VerifyMismatchError

from appliance.errors import ApplianceError

HASH_COMMAND = "appliance user hash"
"""What a person runs to make a hash."""

_HASH = re.compile(
    r"argon2id\.v=19\.m=(?P<memory_kib>[1-9]\d{0,6})~t=(?P<passes>[1-9]\d?)~p=(?P<lanes>[1-9]\d?)"
    r"\.(?P<salt>[A-Za-z0-9+/]{11,86})\.(?P<digest>[A-Za-z0-9+/]{43})"
)
_LARGEST_MEMORY_KIB = 1 << 20


def hash_password(password: str) -> str:
    """A salted argon2id hash of the password, in the text form of this module."""
    return normalized(PasswordHasher().hash(_as_bytes(password)))


def verify_password(hash_text: str, password: str) -> bool:
    """Whether the password has this hash; False too for a text that is no hash.

    Takes tens of milliseconds and tens of mebibytes on purpose: keep it off the event loop.

    Raises:
        ApplianceError: the box has no memory left for the check.
    """
    if not is_hash(hash_text):
        return False
    encoded = "$" + normalized(hash_text).replace(".", "$").replace("~", ",")
    try:
        return PasswordHasher().verify(encoded, _as_bytes(password))
    except VerifyMismatchError:
        return False
    except VerificationError as error:
        raise ApplianceError(
            f"the password could not be checked: {error}",
            hint="the box is short of memory; try again, or give it more",
        ) from error


def dummy_like(hash_text: str) -> str:
    """A hash that takes as long to check as this one, and that no password is known to have."""
    cost = normalized(hash_text).rpartition(".")[0].rpartition(".")[0]
    return f"{cost}.{'A' * 22}.{'A' * 43}"


def is_hash(text: str) -> bool:
    """Whether the text is an argon2id hash of 32 bytes, in our form or in argon2's own.

    One that lost its end or a letter is not. Nor is one that would ask for more than a gibibyte
    of memory: checking it could take the station down.
    """
    match = _HASH.fullmatch(normalized(text))
    if match is None:
        return False
    memory_kib, lanes = map(int, match.group("memory_kib", "lanes"))
    is_cost_sane = 8 * lanes <= memory_kib <= _LARGEST_MEMORY_KIB
    return is_cost_sane and all(map(_is_base64, match.group("salt", "digest")))


def _is_base64(text: str) -> bool:
    """Whether the letters are what some bytes give, without padding: argon2 takes no others."""
    if len(text) % 4 == 1:
        return False
    padded = text + "=" * (-len(text) % 4)
    return base64.b64encode(base64.b64decode(padded)).decode() == padded


def normalized(hash_text: str) -> str:
    """A hash in argon2's own form, or already in ours, in our form."""
    return hash_text.replace("$", ".").replace(",", "~").removeprefix(".")


def _as_bytes(password: str) -> bytes:
    """One spelling for letters with accents, whatever the keyboard; any text is accepted."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
