"""The ways people write lists, maps, names and addresses in one line of text.

Each function takes what a variable holds and gives the value, or raises a ValueError that
says what is wrong without repeating any of the text: it may be shown to strangers.
"""

import ipaddress
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from appliance.texts import AUTO, LANGUAGES

PRECISIONS = ("fp32", "fp16", "int8")
LIMITS_FORM = "list of PRECISION=LIMIT"
LANGUAGE_FORM = f"{AUTO}, {', '.join(LANGUAGES[:-1])} or {LANGUAGES[-1]}"

_SEPARATOR = re.compile(r"[,\r\n]")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*")
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_HEADERS_IN_USE = {"host", "origin", "cookie", "authorization", "content-length", "content-type"}
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")

_RATIO = re.compile(r"([1-9][0-9]{0,4}):([1-9][0-9]{0,4})")


def from_json(text: str) -> object:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON, or nested beyond all reason.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        # Not chained: the decoder's message and its `doc` hold the text.
        raise ValueError("begins like JSON but is none") from None


def json_list(text: str) -> list[str] | None:
    """The texts of a JSON list; None where the text doesn't begin like one.

    Raises:
        ValueError: it begins like a list but is no JSON list of texts.
    """
    if not text.lstrip().startswith("["):
        return None
    items = from_json(text)
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError("is a JSON list, but not of texts")
    return [item.strip() for item in items]


def split_list(value: object) -> object:
    """The items of `a,b`, `a, b,`, one a line, or `["a", "b"]`; anything but text as it is.

    Raises:
        ValueError: the text begins like a JSON list but is none.
    """
    return _items(value) if isinstance(value, str) else value


def parse_class_map(value: object) -> object:
    """Thresholds by class from `traffic light=0.4,person`; None is the general threshold.

    JSON lists and objects are taken as well.

    Raises:
        ValueError: a class has no name or stands twice, or a threshold is not within 0..1.
    """
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        return _checked_classes(list(_object_items(value)))
    return _checked_classes([_class_item(item) for item in _items(value)])


def parse_limits(value: object) -> object:
    """Limits by precision from `fp16=0.98, int8=0.95`.

    Raises:
        ValueError: a precision is unknown or stands twice, or a limit is not a number above 0.
    """
    if not isinstance(value, str):
        return value
    pairs = [_class_item(item) for item in _items(value)]
    if any(name not in PRECISIONS for name, _ in pairs):
        raise ValueError(f"names another precision than {', '.join(PRECISIONS)}")
    if any(limit is None or not 0 < limit < math.inf for _, limit in pairs):
        raise ValueError("has a limit that is not a number above 0")
    if any(count > 1 for count in Counter(name for name, _ in pairs).values()):
        raise ValueError("has a precision twice")
    return dict(pairs)


def _items(text: str) -> tuple[str, ...]:
    items = json_list(text)
    if items is None:
        items = [item.strip() for item in _SEPARATOR.split(text)]
    return tuple(item for item in items if item)


def _object_items(text: str) -> list[tuple[str, float | None]]:
    classes = from_json(text)
    if not isinstance(classes, dict):
        raise ValueError("begins like a JSON object but is none")  # noqa: TRY004 - for pydantic
    pairs: list[tuple[str, float | None]] = []
    for name, threshold in classes.items():
        if isinstance(threshold, bool) or not isinstance(threshold, int | float | None):
            raise ValueError("has a threshold that is not a number")  # noqa: TRY004 - for pydantic
        pairs.append((name.strip(), threshold))
    return pairs


def _class_item(item: str) -> tuple[str, float | None]:
    name, equals, threshold = item.rpartition("=")
    if not equals:
        return item, None
    try:
        return name.strip(), float(threshold)
    except ValueError:
        raise ValueError("has a threshold that is not a number") from None


def _checked_classes(pairs: list[tuple[str, float | None]]) -> Mapping[str, float | None]:
    if any(not name for name, _ in pairs):
        raise ValueError("has a threshold without a class")
    if any(not name.isprintable() for name, _ in pairs):
        raise ValueError("has a class with letters that cannot be shown")
    if any(threshold is not None and not 0 <= threshold <= 1 for _, threshold in pairs):
        raise ValueError("has a threshold that is not within 0..1")
    if any(count > 1 for count in Counter(name for name, _ in pairs).values()):
        raise ValueError("has a class twice")
    return dict(pairs)


def check_line(text: str) -> str:
    """A text without control characters.

    Raises:
        ValueError: it has some, or did not arrive as UTF-8.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # bytes that are no UTF-8
        raise ValueError("is not text in UTF-8")
    if not text.isprintable():
        raise ValueError("holds characters that cannot be shown, such as line ends")
    return text


def check_model(text: str) -> str:
    """The name of a model: of a folder, so never a path.

    Raises:
        ValueError: it is none.
    """
    if text and not _MODEL.fullmatch(text):
        raise ValueError("is not a model's name: letters, digits and . _ - only")
    return text


def check_base_path(text: str) -> str:
    """A path under which the page lives: empty, or with a slash before and none after.

    Raises:
        ValueError: a part of it needs escaping in a URL, or is `.` or `..`.
    """
    parts = [part for part in text.split("/") if part]
    if any(not _SEGMENT.fullmatch(part) or set(part) == {"."} for part in parts):
        raise ValueError("is not a path: letters, digits and . _ ~ - between slashes only")
    return "".join(f"/{part}" for part in parts)


def check_listening(text: str) -> str:
    """Where a server listens: a name, or an address in its usual spelling without brackets.

    Raises:
        ValueError: it has a port, a scheme or a path.
    """
    is_bracketed = text.startswith("[") and text.endswith("]")
    bare = text[1:-1] if is_bracketed else text
    try:
        address = ipaddress.ip_address(bare)
    except ValueError as error:
        if _HOST.fullmatch(text.lower()):
            return text
        raise ValueError(
            "is neither an IP address nor a host name; the port has a variable of its own"
        ) from error
    if is_bracketed and address.version != 6:
        raise ValueError("has brackets, which belong around IPv6 addresses only")
    return str(address)


def check_hosts(names: tuple[str, ...]) -> tuple[str, ...]:
    """Host names in lower case, without the dot at the end.

    Raises:
        ValueError: one has a scheme, a port, a path or a wildcard.
    """
    hosts = tuple(name.lower().removesuffix(".") for name in names)
    for position, host in enumerate(hosts, start=1):
        if not _HOST.fullmatch(host):
            raise ValueError(f"entry {position} is not a host name without scheme, port and path")
    return hosts


def check_networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses and networks in their usual spelling: `10.0.0.5/24` is `10.0.0.0/24`.

    Raises:
        ValueError: one is neither, or is the whole Internet: anybody could then claim to be
            anybody.
    """
    networks = []
    for position, text in enumerate(texts, start=1):
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"entry {position} is neither an IP address nor a network") from None
        if network.prefixlen == 0:
            raise ValueError(f"entry {position} trusts every address; name the proxy's")
        networks.append(str(network))
    return tuple(networks)


def check_size(text: str) -> str:
    """A picture size `1280x720`, or nothing.

    Raises:
        ValueError: it is neither.
    """
    size = text.lower().replace(" ", "").replace("×", "x")
    if size and not _SIZE.fullmatch(size):
        raise ValueError("is not a width and a height in pixels")
    return size


def parse_pixel_aspect(value: object) -> object:
    """How many times as wide as high a pixel is, from `2:1`; anything but text as it is.

    Raises:
        ValueError: the text is no such ratio.
    """
    if not isinstance(value, str):
        return value
    match = _RATIO.fullmatch("".join(value.split()))
    if match is None:
        raise ValueError("is no WIDTH:HEIGHT such as 2:1")
    return int(match[1]) / int(match[2])


def check_folder(path: Path) -> Path:
    """An absolute path.

    Raises:
        ValueError: it is relative, so it would depend on where the process was started.
    """
    if not path.is_absolute() or not str(path).isprintable():
        raise ValueError("is not an absolute path")
    return path


def check_header(name: str) -> str:
    """The name of a request header, in lower case; empty for none.

    Raises:
        ValueError: it is no name, or one that means something else.
    """
    if name and (not _HEADER.fullmatch(name) or name.lower() in _HEADERS_IN_USE):
        raise ValueError("is not the name of a header that a proxy could add")
    return name.lower()


def check_language(text: str) -> str:
    """A language that the page has, or the word for the browser's.

    Raises:
        ValueError: it is none.
    """
    if text not in {AUTO, *LANGUAGES}:
        raise ValueError("is none of the choices")
    return text


def check_token(token: str) -> str:
    """A token that fits into an HTTP header and cannot be guessed.

    Raises:
        ValueError: it is shorter than 16 characters, or has others than visible ASCII.
    """
    if len(token) < 16:
        raise ValueError("is shorter than 16 characters")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("holds blanks or characters other than ASCII")
    return token


Line = Annotated[str, AfterValidator(check_line)]
Words = Annotated[tuple[str, ...], BeforeValidator(split_list)]
CLASSES_FORM = "list of CLASS or CLASS=THRESHOLD, with thresholds 0..1"
ClassMap = Annotated[Mapping[str, float | None], BeforeValidator(parse_class_map)]
Limits = Annotated[Mapping[str, float], BeforeValidator(parse_limits)]
ModelName = Annotated[str, AfterValidator(check_model)]
BasePath = Annotated[str, AfterValidator(check_base_path)]
Hosts = Annotated[Words, AfterValidator(check_hosts)]
Listening = Annotated[Line, AfterValidator(check_listening)]
Language = Annotated[str, AfterValidator(check_language)]
HeaderName = Annotated[str, AfterValidator(check_header)]
Networks = Annotated[Words, AfterValidator(check_networks)]
Size = Annotated[str, AfterValidator(check_size)]
PixelAspect = Annotated[float, BeforeValidator(parse_pixel_aspect)]
Folder = Annotated[Path, AfterValidator(check_folder)]
