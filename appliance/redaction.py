"""Takes secrets out of text: one place for settings, logs, pages and reports.

Too much is taken out rather than too little: a password that someone left unescaped in a
URL may itself hold `/`, `?`, `#` or `@`, so everything up to the last `@` counts as one.
"""

import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from appliance.errors import escaped

MARK = "•••"
SHORTEST_SECRET = 4
"""Shorter secrets are left alone: hiding every `1` would make all lines unreadable."""

_USERINFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20}://)[^\s'\"<>]*@")
_QUERY_SECRET = re.compile(
    r"([?&;](?:pass(?:word|wd)?|pwd|psw|(?:access_?)?token|(?:api_?)?key|secret|auth|signature)=)"
    r"[^&\s#'\"<>]+",
    re.IGNORECASE,
)


def one_line(text: str) -> str:
    """The text with every letter escaped that cannot be shown, moves a cursor or ends a line."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def printable_json(document: object) -> str:
    """The document as JSON in one line, with the same letters escaped as JSON has it."""
    text = json.dumps(document, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)


def redact_url(url: str) -> str:
    """The text without user names and passwords of URLs, nor secrets in their queries.

    `rtsp://admin:pass@door/1` becomes `rtsp://•••@door/1`. Works on any text, so on a whole
    message with URLs in it as well.
    """
    if "://" in url:
        url = _USERINFO.sub(rf"\g<1>{MARK}@", url)
    return _QUERY_SECRET.sub(rf"\g<1>{MARK}", url)


class Redactor:
    """Replaces known secrets, in every spelling a log may give them, and secrets in URLs.

    Args:
        secrets: the texts to hide; those shorter than `SHORTEST_SECRET` are not registered.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings = {
            spelling
            for secret in secrets
            if len(secret) >= SHORTEST_SECRET
            for spelling in _spellings(secret)
        }
        # The longest first: a secret that begins like another one must go as a whole.
        ordered = sorted(spellings, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def redact(self, text: str) -> str:
        """The text with `•••` in place of every secret, and what UTF-8 cannot say escaped."""
        if self._pattern is not None:
            text = self._pattern.sub(MARK, text)
        return escaped(redact_url(text))


def _spellings(secret: str) -> set[str]:
    """The secret as it is, as in a URL, as in a `repr`, as in JSON."""
    encodable = secret.encode("utf-8", "surrogatepass")
    return {
        secret,
        quote(encodable, safe=""),
        quote(encodable),
        quote_plus(encodable),
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    }
