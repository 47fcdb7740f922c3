"""The settings of one camera."""

from collections.abc import Iterator
from typing import Any, Self

from pydantic import SecretStr, model_validator
from typing_extensions import override

from appliance.redaction import redact_url
from appliance.settings.addresses import (
    CARRIED_BYTES,
    credentials_bytes,
    parse_address,
    with_credentials,
)
from appliance.settings.fields import Note, Section, setting
from appliance.settings.forms import CLASSES_FORM, ClassMap, Line, ModelName, PixelAspect, Size


class Camera(Section):
    """One camera; its key, here DOOR, is yours to choose: letters, digits, single underscores."""

    url: str = setting(
        meaning="Where its frames come from. Credentials may stand inside, escaped.",
        example="rtsp://192.0.2.10:554/stream1",
        note=Note(
            form="path of a video file, /dev/videoN, or a URL with file, v4l2, rtsp, rtsps, "
            "http or https"
        ),
    )
    name: Line = setting("", "Name shown on the page; the key when unset.", example="Front door")
    username: Line = setting("", "User name at the camera, not escaped.", example="viewer")
    password: SecretStr | None = setting(
        None,
        "Password at the camera, not escaped.",
        example="a password",
    )
    model: ModelName = setting(
        "",
        "Model that looks at this camera; the station's when unset.",
        example="centernet-mobilenetv3",
        note=Note(form="name of a model"),
    )
    confidence: float | None = setting(
        None,
        "Score from which something counts as seen; what its model's card says when unset.",
        example="0.5",
        ge=0,
        le=1,
    )
    classes: ClassMap = setting(
        {},
        "Classes that count, each with a threshold of its own where given; all when unset.",
        example="person=0.5, traffic light=0.4, car",
        note=Note(form=CLASSES_FORM),
    )
    repeat: bool = setting(
        default=True, meaning="Whether a file starts over at its end.", example="off"
    )
    paced: bool = setting(
        default=True,
        meaning="Whether a file plays at its own speed instead of as fast as it can be read.",
        example="off",
    )
    size: Size = setting(
        "",
        "Picture size to ask a V4L2 device for; its own choice when unset.",
        example="1280x720",
        note=Note(form="WIDTHxHEIGHT in pixels"),
    )
    fps: float | None = setting(
        None,
        "Frames per second to ask a V4L2 device for; its own choice when unset.",
        example="30",
        gt=0,
        le=1000,
    )
    pixel_aspect: PixelAspect | None = setting(
        None,
        "Width to height of a pixel, for recorders that squeeze pictures without saying so; what "
        "the stream says when unset.",
        example="2:1",
        ge=0.25,
        le=4,
        note=Note(form="WIDTH:HEIGHT, 1:4..4:1"),
    )
    megapixels: int = setting(
        40,
        "Millions of pixels that a picture may have; a camera or file with larger ones is refused.",
        example="12",
        ge=1,
        le=200,
    )
    open_timeout_s: float = setting(
        10.0, "Seconds in which the camera must open.", example="20", gt=0, le=600
    )
    read_timeout_s: float = setting(
        5.0, "Seconds without a frame after which it is opened again.", example="10", gt=0, le=600
    )

    @model_validator(mode="before")
    @classmethod
    def _take_credentials_out_of_the_url(cls, data: Any) -> Any:  # noqa: ANN401 - pydantic's own
        """Keeps the URL fit to be shown; the credentials live in their fields alone."""
        if not isinstance(data, dict) or not isinstance(data.get("url"), str):
            return data
        address = parse_address(data["url"])
        found = {"username": address.username, "password": address.password}
        for field, value in found.items():
            if value and data.get(field):
                raise ValueError(f"holds a {field}, and {field.upper()} is set as well")
        return {**data, "url": address.url, **{key: value for key, value in found.items() if value}}

    @model_validator(mode="after")
    def _credentials_fit(self) -> Self:
        """FFmpeg cuts what is longer without a word; the camera then tells of a wrong password."""
        limit = CARRIED_BYTES.get(self.url.partition("://")[0])
        length = credentials_bytes(self.address())
        if limit and length > limit:
            raise ValueError(
                f"the user name and password are too long: escaped and with a colon between "
                f"them they have {length} characters, of which the decoder carries {limit}; "
                f"signs other than letters, digits and _.-~ count three or more"
            )
        return self

    @override
    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """A camera that hands out pictures by HTTP may want its token in the URL's query."""
        for name, value in super().__repr_args__():
            yield name, redact_url(value) if name == "url" else value

    @property
    def size_wh(self) -> tuple[int, int] | None:
        """The picture size to ask for, in pixels; None leaves it to the device."""
        width, _, height = self.size.partition("x")
        return (int(width), int(height)) if self.size else None

    def address(self) -> str:
        """The URL as a decoder wants it, with the credentials inside: never to be shown."""
        password = self.password.get_secret_value() if self.password else ""
        return with_credentials(self.url, self.username, password)
