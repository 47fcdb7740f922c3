"""Makes the parts that build and serving share, from the settings."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

import cv2
import numpy as np
from loguru import logger

from appliance import __version__, resources
from appliance.app.choices import ANY, AUTO, backends, choices, obstacle
from appliance.catalog.inspection import Inspection, inspect_onnx
from appliance.catalog.labels import Labels, LabelSource
from appliance.catalog.library import Library, builtin_models_dir
from appliance.engines import Backend
from appliance.errors import ModelError
from appliance.optimizer.cache import EngineCache
from appliance.optimizer.frames import Frames, is_picture
from appliance.optimizer.key import EngineKey
from appliance.optimizer.shelf import Shelf, Wishes
from appliance.optimizer.sidecar import SIDECAR
from appliance.runtimes import BuildOptions
from appliance.settings import Paths, Problem, Settings, SettingsProblems
from appliance.settings.variables import camera_variables, station_variables
from appliance.values import Precision

ENGINES, TIMINGS = "engines", "timings"  # below the cache folder
VERIFY = "verify"  # a folder of frames beside the weights
_STATE = "APPLIANCE_PATHS__STATE"
_RUNTIMES = {"APPLIANCE_ENGINE__BACKEND", "APPLIANCE_ENGINE__REQUIRE"}


def library_of(settings: Settings) -> Library:
    """The station's models: shipped cards, and those in its state folder."""
    return library_in(settings.paths)


def library_in(paths: Paths) -> Library:
    """The same, for whoever knows the folders alone."""
    return Library(builtin_models_dir(), paths.state / "models")


def unread_names(found: Inspection, labels: Labels) -> str:
    """What a person should know where names in a model's file cannot be read; else empty."""
    if not found.warnings or labels.source is not LabelSource.NONE:
        return ""
    return (
        "the class names in the model file cannot be read, so its classes are called class_0, "
        "class_1 and so on; a labels.txt beside the model names them"
    )


def cache_in(paths: Paths) -> EngineCache:
    """The engines that were built here."""
    return EngineCache(paths.cache / ENGINES)


def shelf_of(settings: Settings) -> Shelf:
    """This station's engines."""
    asked, shipped = settings.engine, settings.engine.shipped
    return Shelf(
        cache=cache_in(settings.paths),
        shipped=EngineCache(shipped) if shipped is not None else None,
        wishes=Wishes(
            precision=asked.precision,
            limits={each: settings.verify.of(each) for each in Precision},
            options=BuildOptions(
                workspace_mb=asked.workspace_mb,
                optimization_level=asked.optimization_level,
                compatibility=asked.compatibility,
                timings=settings.paths.cache / TIMINGS,
            ),
            threads=asked.threads,
        ),
    )


def versions() -> dict[str, str]:
    """The appliance and the libraries that decide how it sees."""
    return {
        "Vision Appliance": __version__,
        "Python": sys.version.split()[0],
        **{backend.title: _version_or_not(backend) for backend in backends().values()},
        "OpenCV": cv2.__version__,
        "NumPy": np.__version__,
        "System": f"{os.uname().sysname} {os.uname().release} {os.uname().machine}",
    }


def _version_or_not(backend: Backend) -> str:
    """The version; where nothing here runs it, why."""
    missing = obstacle(backend)
    return backend.version() if missing is None else f"not here: {missing}"


def models_in_use(settings: Settings) -> tuple[str, ...]:
    """Each model that some camera looks through, once; the station's own without cameras."""
    named = (camera.model or settings.model for camera in settings.cameras.values())
    return tuple(dict.fromkeys(named)) or (settings.model,)


def engines_in_use(settings: Settings) -> tuple[EngineKey, ...]:
    """The keys that the models in use would load; the earlier one while a file gives no engine.

    Raises:
        ApplianceError: a model's card cannot be read.
    """
    return tuple(
        key
        for name in models_in_use(settings)
        for backend in choices(settings).backends
        for key in _keys_in_use(settings, name, backend)
    )


def _keys_in_use(settings: Settings, name: str, backend: Backend) -> Iterator[EngineKey]:
    library, shelf = library_of(settings), shelf_of(settings)
    card, sha256 = library.card(name), ""
    try:
        key = shelf.key(card, library.weights(name), backend)
    except ModelError as error:
        logger.bind(model=name).warning("engines: an earlier one is kept: {}", error)
    else:
        yield key
        if shelf.cache.find(key) is not None:
            return
        sha256 = key.weights_sha256
    earlier = shelf.earlier(card, sha256, backend)
    if earlier is not None:
        yield earlier.key


def frames_for(settings: Settings, model: str) -> Frames | None:
    """The pictures in the model's verify folder, the station's before the shipped one's."""
    for folder in (verify_folder(settings, model), builtin_models_dir() / model / VERIFY):
        if folder.is_dir() and any(map(is_picture, folder.iterdir())):
            return Frames.of(folder)
    return None


def verify_folder(settings: Settings, model: str) -> Path:
    """Where pictures lie by which this station verifies a model."""
    return settings.paths.state / "models" / model / VERIFY


def sidecars_of(settings: Settings) -> Mapping[str, str]:
    """What stands beside each cached engine of the models in use, by "MODEL/KEY"."""
    found = {}
    for model in models_in_use(settings):
        folder = settings.paths.cache / ENGINES / model
        for path in sorted(folder.glob(f"*/{SIDECAR}")):
            try:
                text = path.read_text(encoding="utf-8", errors="replace")
            except OSError as error:  # gone since, or damaged: that is worth telling, too
                text = str(error)
            found[f"{model}/{path.parent.name}"] = text
    return found


def check_choices(settings: Settings) -> None:
    """Refuse what no variable says wrong by itself.

    Names of models can only be judged once the state folder is known, and a runtime that is
    required can only be had where it is looked for.

    Raises:
        SettingsProblems: with every variable that is in the way.
    """
    problems = _wrong_choices(settings, frozenset())
    if problems:
        raise SettingsProblems(problems, settings)


def with_wrong_choices(found: SettingsProblems) -> SettingsProblems:
    """The problems of the settings with those of what is right by itself: a list of them all."""
    wrong = frozenset(problem.variable for problem in found.problems)
    return SettingsProblems([*found.problems, *_wrong_choices(found.rest, wrong)], found.rest)


def _wrong_choices(settings: Settings, wrong: AbstractSet[str]) -> list[Problem]:
    """What depends on more than one variable, where none of these is wrong already."""
    problems: list[Problem] = []
    if _STATE not in wrong:  # else nobody knows which models there are
        problems += _unknown_models(settings)
    if not wrong & _RUNTIMES:
        problems += _contradictions(settings)
    return problems


def _unknown_models(settings: Settings) -> Iterator[Problem]:
    library = library_of(settings)
    known = {"", *library.names()}
    named = [(station_variables(), settings.model)]
    named += [(camera_variables(key), camera.model) for key, camera in settings.cameras.items()]
    # Strangers may read this: the models that people brought are nobody else's business.
    expected = (
        "name of a folder with a model.toml, below models in the state folder, "
        f"or of a model that ships: {', '.join(library.shipped_names())}"
    )
    for variables, name in named:
        for variable in variables:
            if variable.path[-1] == "model" and name not in known:
                yield Problem.of(variable, "names a model that is not here", expected=expected)


def _contradictions(settings: Settings) -> Iterator[Problem]:
    asked, required = settings.engine.backend, settings.engine.require
    if asked in {AUTO, required} or required == ANY:
        return
    for variable in station_variables():
        if variable.path == ("engine", "require"):
            yield Problem.of(
                variable,
                "wants another runtime than APPLIANCE_ENGINE__BACKEND",
                expected="the same in both, or APPLIANCE_ENGINE__BACKEND=auto",
            )


def hardware() -> dict[str, str]:
    """What this machine has to see with, and how much of it the station may use."""
    streamer = re.search(r"GStreamer:\s*(\S+)", cv2.getBuildInformation())
    return {
        "Processor": str(resources.cores()),
        "Memory": str(resources.memory()),
        "NVIDIA GPU": "found" if Path("/dev/nvidiactl").exists() else "none",
        "OpenCV with GStreamer": streamer.group(1).lower() if streamer else "no",
    }


def inspection_lines(weights: Path) -> list[str]:
    """What an ONNX file says of itself, for a person."""
    found = inspect_onnx(weights)
    lines = [
        f"file      {weights}",
        f"sha256    {found.sha256}",
        f"size      {found.size_bytes / 1e6:.1f} MB",
        f"made by   {found.producer or '–'}, operator set {found.opset}, IR {found.ir_version}",
    ]
    for title, tensors in (("input", found.inputs), ("output", found.outputs)):
        lines += [f"{title:<9} {t.name} {t.dtype} {list(t.shape or ())}" for t in tensors]
    return lines
