"""Looks for planted secrets in a zip, in every spelling that a text may give them."""

import base64
import io
import zipfile
from urllib.parse import quote, quote_plus


def spellings(secret: str) -> set[str]:
    """As it is, escaped as in a URL, and as base64, alone or in the middle of something."""
    found = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
    raw = secret.encode()
    for lead in range(3):  # base64 of a text depends on where in its triples the text begins
        packed = base64.b64encode(bytes(lead) + raw).decode().rstrip("=")
        begin, end = (0, 2, 3)[lead], len(packed) - (1 if (lead + len(raw)) % 3 else 0)
        found |= {packed[begin:end], packed[begin:end].translate(str.maketrans("+/", "-_"))}
    return found


def found_in_zip(content: bytes, secrets: list[str]) -> list[tuple[str, str]]:
    """Which spelling stands in which member, its name included."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return [
        (name, spelling)
        for name, data in members.items()
        for secret in secrets
        for spelling in spellings(secret)
        if spelling.encode() in data or spelling in name
    ]
