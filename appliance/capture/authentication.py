"""How a camera asks for a password, and what it is answered (RFC 2617 and 7616)."""

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from urllib.request import parse_http_list

_MADE_BY = {"MD5": "md5", "MD5-SESS": "md5", "SHA-256": "sha256", "SHA-256-SESS": "sha256"}
_SCHEME = re.compile(r"\s*([A-Za-z]+)\s+(.*)", re.DOTALL)


def digests(challenges: Sequence[str]) -> list[str]:
    """By which algorithms a digest is asked for, upper case.

    Args:
        challenges: values of WWW-Authenticate.
    """
    return [_algorithm(terms) for scheme, terms in _offers(challenges) if scheme == "digest"]


def authorization(
    challenges: Sequence[str], method: str, uri: str, user: str, password: str
) -> str:
    """The value of Authorization; empty where no form that is asked for is known.

    The password is in it only where no digest is offered.

    Args:
        challenges: values of WWW-Authenticate.
        method: of the request.
        uri: as the request has it.
        user: who asks.
        password: theirs.
    """
    offered = _offers(challenges)
    wanted = [terms for scheme, terms in offered if scheme == "digest"]
    for terms in wanted:
        if _algorithm(terms) in _MADE_BY:
            return _digest(terms, method, uri, user, password)
    if wanted or not any(scheme == "basic" for scheme, _ in offered):
        return ""
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    return f"Basic {token}"


def _offers(challenges: Sequence[str]) -> list[tuple[str, Mapping[str, str]]]:
    """Scheme, lower case, and terms of each form in which a password is asked for."""
    matches = (match for match in map(_SCHEME.match, challenges) if match)
    return [(match[1].lower(), _terms(match[2])) for match in matches]


def _terms(text: str) -> Mapping[str, str]:
    pairs = (term.partition("=") for term in parse_http_list(text))
    return {name: value.removeprefix('"').removesuffix('"') for name, _, value in pairs}


def _algorithm(terms: Mapping[str, str]) -> str:
    return terms.get("algorithm", "MD5").upper()


def _digest(terms: Mapping[str, str], method: str, uri: str, user: str, password: str) -> str:
    algorithm = _algorithm(terms)

    def hashed(*parts: str) -> str:
        return hashlib.new(_MADE_BY[algorithm], ":".join(parts).encode()).hexdigest()

    realm, nonce = terms.get("realm", ""), terms.get("nonce", "")
    own, count = secrets.token_hex(8), "00000001"
    secret = hashed(user, realm, password)
    if algorithm.endswith("-SESS"):
        secret = hashed(secret, nonce, own)
    what = hashed(method, uri)
    by_count = "auth" in parse_http_list(terms.get("qop", ""))
    proof = hashed(secret, nonce, *([count, own, "auth"] if by_count else []), what)
    told = {"username": user, "realm": realm, "nonce": nonce, "uri": uri, "response": proof}
    told |= {"opaque": terms["opaque"]} if "opaque" in terms else {}
    told |= {"cnonce": own} if by_count or algorithm.endswith("-SESS") else {}
    header = ", ".join(f'{name}="{_quoted(value)}"' for name, value in told.items())
    header += f", algorithm={terms['algorithm']}" if "algorithm" in terms else ""
    header += f", qop=auth, nc={count}" if by_count else ""
    return f"Digest {header}"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
