"""Where a camera is: a file, a device or a network address, with its credentials apart."""

from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit

NETWORK_SCHEMES = ("rtsp", "rtsps", "http", "https")
LOCAL_SCHEMES = ("file", "v4l2")

CARRIED_BYTES = {"rtsp": 127, "rtsps": 127, "http": 1023, "https": 1023}
"""How much of `user:password`, escaped, FFmpeg carries; measured with a longer one per scheme."""

_ESCAPING = "the user and password belong into USERNAME and PASSWORD, where they need no escaping"


@dataclass(frozen=True, slots=True)
class Address:
    """A camera's address.

    Attributes:
        url: without credentials.
        username: from the URL, unescaped; may be empty.
        password: from the URL, unescaped; may be empty.
    """

    url: str
    username: str = ""
    password: str = field(default="", repr=False)


def parse_address(text: str) -> Address:
    """Take an address apart.

    Args:
        text: a path, `/dev/video0`, or a URL with one of the schemes above.

    Raises:
        ValueError: it is none of these; its message repeats nothing of the text.
    """
    if not text.isprintable():
        raise ValueError("holds characters that cannot be shown, such as line ends")
    scheme, separator, rest = text.partition("://")
    if not separator:
        if ":" in text.split("/", 1)[0]:
            raise ValueError("is neither a path nor a URL: :// is missing")
        return Address(text)
    scheme = scheme.lower()
    if scheme in LOCAL_SCHEMES:
        if not rest.startswith("/"):
            raise ValueError(f"has no absolute path: {scheme}:/// and three slashes")
        return Address(f"{scheme}://{rest}")
    if scheme not in NETWORK_SCHEMES:
        known = ", ".join((*LOCAL_SCHEMES, *NETWORK_SCHEMES))
        raise ValueError(f"has a scheme that is none of {known}")
    return _network_address(scheme, rest)


def with_credentials(url: str, username: str, password: str) -> str:
    """The URL as decoders want it: user and password inside, escaped."""
    scheme, separator, rest = url.partition("://")
    if not (username or password) or scheme not in NETWORK_SCHEMES:
        return url
    userinfo = quote(username, safe="") + (f":{quote(password, safe='')}" if password else "")
    return f"{scheme}{separator}{userinfo}@{rest}"


def credentials_bytes(url: str) -> int:
    """How long `user:password` is in a URL made by `with_credentials`."""
    return len(urlsplit(url).netloc.rpartition("@")[0])


def _network_address(scheme: str, rest: str) -> Address:
    if " " in rest:
        raise ValueError(f"holds blanks; write %20, and {_ESCAPING}")
    parts = _split(f"{scheme}://{rest}")
    userinfo, at, _ = parts.netloc.rpartition("@")
    remainder = rest.removeprefix(userinfo + at)
    # What follows the host has none of these, unless a password with a slash, a question
    # mark or a hash was read as the address: half of it would then be shown as a path.
    if "@" in remainder or "#" in remainder:
        raise ValueError(f"has @ or # after the host; write %40 or %23, and {_ESCAPING}")
    username, _, password = userinfo.partition(":")
    return Address(f"{scheme}://{remainder}", unquote(username), unquote(password))


def _split(url: str) -> SplitResult:
    """The parts of a URL that has a host and, if any, a port that is a number."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        # Not chained: urllib's message holds what it could not read.
        raise ValueError(f"has no host that can be read; {_ESCAPING}")
    return parts
