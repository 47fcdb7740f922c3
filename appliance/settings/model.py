"""The tree of settings. A new setting is one field of a section; messages and documents follow."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from appliance.settings.auth import Auth
from appliance.settings.camera import Camera
from appliance.settings.fields import Note, Section, secrets_in, setting
from appliance.settings.forms import (
    CLASSES_FORM,
    LANGUAGE_FORM,
    LIMITS_FORM,
    BasePath,
    ClassMap,
    Folder,
    Hosts,
    Language,
    Limits,
    Line,
    Listening,
    ModelName,
    Networks,
)
from appliance.settings.kiosk import Kiosk
from appliance.texts import AUTO

MOST_PICTURE_MB = 60  # the gate lets no larger body through, nor do the proxies that we ship


class Station(Section):
    """The station as a whole."""

    name: Line = setting(
        "", "Name of the station, shown under the product's name.", example="Hall 3, gate north"
    )


class Detection(Section):
    """What counts as seen, for all cameras: old names, read until version 1.0."""

    confidence: float | None = setting(
        None, "Old name: CONFIDENCE of every camera.", example="0.5", ge=0, le=1
    )
    classes: ClassMap = setting(
        {},
        "Old name: CLASSES of every camera.",
        example="person=0.5, traffic light=0.4, car",
        note=Note(form=CLASSES_FORM),
    )


class Engine(Section):
    """What the model runs on."""

    backend: Literal["auto", "tensorrt", "rtx", "cuda", "cpu"] = setting(
        "auto",
        "What runs the model: TensorRT, TensorRT for RTX, ONNX Runtime on CUDA or on the "
        "processor; auto takes the best that this box has.",
        example="cpu",
    )
    require: Literal["any", "tensorrt", "rtx", "cuda", "cpu"] = setting(
        "any",
        "What must run the model: with anything else the station sees nothing and is not ready.",
        example="tensorrt",
    )
    precision: Literal["auto", "fp32", "fp16", "int8"] = setting(
        "auto",
        "Numbers the model computes with; auto is fp16 on a GPU and fp32 on a processor. "
        "What does not see what the original saw gives way to the next wider.",
        example="fp32",
    )
    threads: int = setting(
        0,
        "Threads of one inference on the processor; 0 is its share of the physical cores.",
        example="4",
        ge=0,
        le=256,
    )
    in_flight: int = setting(
        0,
        "Frames that the runtime works on at once: 2 see more pictures, 1 has the least delay; "
        "0 is 2, or 1 on a single core or with several models.",
        example="1",
        ge=0,
        le=4,
    )
    people_share: float = setting(
        0.2,
        "Share of an engine's time that pictures of people may take while a camera's frame waits "
        "for it; all of it while none waits.",
        example="0.1",
        ge=0.01,
        le=0.4,
    )
    background_share: float = setting(
        0.2,
        "The same for work that nobody waits for, all of it together.",
        example="0.1",
        ge=0.01,
        le=0.4,
    )
    memory_mb: int = setting(
        0,
        "MiB that all engines together may take of their device; 0 is all that is free at the "
        "start.",
        example="3000",
        ge=0,
    )
    workspace_mb: int = setting(
        1024,
        "MiB of a GPU that trying out may take while an engine is built; 0 sets no limit.",
        example="512",
        ge=0,
    )
    optimization_level: int = setting(
        3,
        "How long TensorRT searches: 0 builds fastest, 5 finds the fastest engine.",
        example="5",
        ge=0,
        le=5,
    )
    compatibility: Literal["none", "ampere_plus", "same_compute_capability"] = setting(
        "none",
        "GPUs on which an engine of TensorRT runs beside the one that built it.",
        example="ampere_plus",
    )
    build_minutes: int = setting(
        60, "Minutes after which a build counts as hung and is ended.", example="120", ge=1, le=1440
    )
    shipped: Folder | None = setting(
        None,
        "Folder of engines that were built elsewhere, for boxes like this one; each is verified "
        "here before it serves.",
        example="/opt/engines",
        note=Note(form="absolute path"),
    )
    quota_mb: int = setting(
        4096,
        "MiB that engines may take in the cache; those that no model uses go first, the oldest "
        "before the newer.",
        example="2000",
        ge=1,
    )


class Verify(Section):
    """How an engine is compared with the original model, and how far it may be from it."""

    pictures: int = setting(
        0,
        "Pictures of its cameras that the station keeps for each model, to verify and calibrate "
        "with; it takes one every half a minute. 0 keeps none.",
        example="60",
        ge=0,
        le=1000,
    )
    picture_days: int = setting(
        0,
        "Days after which such a picture is removed, and another may take its place; 0 keeps them.",
        example="90",
        ge=0,
        le=3650,
    )
    f1: Limits = setting(
        {"fp32": 0.99, "fp16": 0.99, "int8": 0.97},
        "Least F1 of its detections against the original's.",
        example="int8=0.95",
        note=Note(form=LIMITS_FORM),
    )
    top1: Limits = setting(
        {"fp32": 0.99, "fp16": 0.99, "int8": 0.95},
        "Least share of pictures that it puts into the original's class.",
        example="int8=0.9",
        note=Note(form=LIMITS_FORM),
    )
    box_px: Limits = setting(
        {"fp32": 0.25, "fp16": 1.0, "int8": 8.0},
        "Most that the edges of a candidate may move, in pixels of the model's input.",
        example="fp16=2",
        note=Note(form=LIMITS_FORM),
    )
    score: Limits = setting(
        {"fp32": 0.01, "fp16": 0.01, "int8": 0.15},
        "Most that the score of a candidate, or of a class, may change.",
        example="fp16=0.02",
        note=Note(form=LIMITS_FORM),
    )

    def of(self, precision: str) -> Mapping[str, float]:
        """Every limit of one precision, by name; the default's where it is not named."""
        names = ("f1", "top1", "box_px", "score")
        given = {name: (getattr(self, name), getattr(Verify(), name)) for name in names}
        return {name: {**default, **own}[precision] for name, (own, default) in given.items()}


class Web(Section):
    """The page."""

    host: Listening = setting(
        "127.0.0.1",
        "Address the page listens on; 0.0.0.0 listens on every network, :: by IPv6 as well.",
        example="0.0.0.0",  # noqa: S104 - an example; the default is the loopback
        note=Note(form="IP address or host name"),
    )
    port: int = setting(8080, "Port the page listens on.", example="8080", ge=1, le=65535)
    base_path: BasePath = setting(
        "",
        "Path under which a proxy serves the page.",
        example="/cam",
        note=Note(form="path such as /cam"),
    )
    hosts: Hosts = setting(
        (),
        "Names by which browsers may call the page, beside IP addresses, localhost and the "
        "box's own name.",
        example="hall3.example, camera.example",
        note=Note(form="list of host names, without scheme and port"),
    )
    https: bool = setting(
        default=False,
        meaning="Whether a proxy in front speaks HTTPS: cookies then travel by it only.",
        example="on",
    )
    trusted_proxies: Networks = setting(
        (),
        "Proxies whose word about the caller's address is taken.",
        example="10.0.0.5, 172.16.0.0/12",
        note=Note(form="list of IP addresses or networks"),
    )
    language: Language = setting(
        AUTO,
        "Language of the page for people who have not chosen one; auto is what their browser "
        "asks for.",
        example="de",
        note=Note(form=LANGUAGE_FORM),
    )
    ca_file: Folder | None = setting(
        None,
        "File with the certificate of the authority that signed the proxy's: people find it at "
        "/ca.crt, to trust it.",
        example="/etc/vision-appliance/ca.crt",
        note=Note(form="absolute path"),
    )


class Live(Section):
    """The live view."""

    fps: float = setting(
        15.0, "Pictures per second and camera, at most.", example="10", ge=0.5, le=60
    )
    quality: int = setting(80, "JPEG quality.", example="70", ge=30, le=95)
    viewers: int = setting(32, "Viewers at a time, at most.", example="8", ge=1, le=1000)


class Inspect(Section):
    """Single pictures that people bring."""

    picture_megapixels: int = setting(
        40,
        "Millions of pixels that a picture may have, as far as memory is free: reading one takes "
        "up to 24 bytes for each.",
        example="12",
        ge=1,
        le=80,
    )
    picture_mb: int = setting(
        10, "MB that a picture's file may have.", example="20", ge=1, le=MOST_PICTURE_MB
    )


class Paths(Section):
    """Where files are kept."""

    state: Folder = setting(
        meaning="Folder of what must not be lost.",
        example="/var/lib/vision-appliance",
        note=Note(form="absolute path", default="$STATE_DIRECTORY, else the user's state folder"),
    )
    cache: Folder = setting(
        meaning="Folder of what can be made again, such as optimized models.",
        example="/var/cache/vision-appliance",
        note=Note(form="absolute path", default="$CACHE_DIRECTORY, else the user's cache folder"),
    )
    temporary: Folder = setting(
        meaning="Folder of what is of no use after a restart.",
        example="/var/cache/vision-appliance/tmp",
        note=Note(form="absolute path", default="tmp in the cache folder"),
    )


class Log(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "Least severity that is logged.", example="debug"
    )
    format: Literal["text", "json"] = setting(
        "text", "Lines for people, or one JSON object a line.", example="json"
    )


class Settings(BaseSettings):
    """All settings, frozen. `appliance.settings.load` makes them from the environment."""

    model_config = SettingsConfigDict(
        env_prefix="APPLIANCE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    station: Station = Station()
    model: ModelName = setting(
        "centernet-mobilenetv3",
        "Model that looks at every camera that names no other.",
        example="centernet-mobilenetv3",
        note=Note(form="name of a model"),
    )
    cameras: Mapping[str, Camera] = Field(default_factory=dict)
    detection: Detection = Detection()
    engine: Engine = Engine()
    verify: Verify = Verify()
    web: Web = Web()
    auth: Auth = Auth()
    live: Live = Live()
    inspect: Inspect = Inspect()
    kiosk: Kiosk = Kiosk()
    paths: Paths
    log: Log = Log()

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but what is handed in: `load` reads the environment, by our own source."""
        return (init_settings,)

    def judging(self, key: str) -> tuple[float | None, Mapping[str, float | None]]:
        """What counts as seen by a camera: its least score, None for its model's; its classes."""
        camera, common = self.cameras[key], self.detection
        confidence = common.confidence if camera.confidence is None else camera.confidence
        return confidence, camera.classes or common.classes

    def secrets(self) -> tuple[str, ...]:
        """Every secret as plain text, for the redactor of the logs and for nothing else."""
        return tuple(secrets_in(self))
