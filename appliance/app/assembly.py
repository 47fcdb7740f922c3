"""Makes the parts that build and serving share, from the settings."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import psutil

from appliance import __version__, engines, tasks
from appliance.catalog.inspection import inspect_onnx
from appliance.catalog.library import Library, builtin_models_dir
from appliance.engines import Backend
from appliance.errors import EngineError
from appliance.optimizer import heads
from appliance.optimizer.build import Optimizer
from appliance.optimizer.cache import SIDECAR, EngineCache, EngineKey
from appliance.optimizer.heads import Head
from appliance.registry import plugins
from appliance.settings import Problem, Settings, SettingsProblems
from appliance.settings.variables import camera_variables, station_variables
from appliance.tasks import Task

DEFAULT_BACKEND = "onnxruntime"
ENGINES = "engines"  # below the cache folder


def library_of(settings: Settings) -> Library:
    """The station's models: shipped cards, and those in its state folder."""
    return Library(builtin_models_dir(), settings.paths.state / "models")


def backend_of(settings: Settings) -> Backend:
    """The engine backend that was asked for."""
    asked = settings.engine.backend
    return plugins(engines, "ENGINE", Backend)[DEFAULT_BACKEND if asked == "auto" else asked]


def optimizer_of(settings: Settings) -> Optimizer:
    """What builds this station's engines."""
    return Optimizer(
        cache=EngineCache(settings.paths.cache / ENGINES),
        heads=plugins(heads, "HEAD", Head),
        tasks=plugins(tasks, "TASK", Task),
        backend=backend_of(settings),
        threads=settings.engine.threads,
    )


def versions_of(backend: Backend) -> dict[str, str]:
    """The appliance and the libraries that decide how it sees."""
    try:
        runtime = backend.version()
    except EngineError as error:
        runtime = str(error)
    return {
        "Vision Appliance": __version__,
        "Python": sys.version.split()[0],
        backend.name: runtime,
        "OpenCV": cv2.__version__,
        "NumPy": np.__version__,
        "System": f"{os.uname().sysname} {os.uname().release} {os.uname().machine}",
    }


def models_in_use(settings: Settings) -> tuple[str, ...]:
    """Each model that some camera looks through, once; the station's own without cameras."""
    named = (camera.model or settings.model for camera in settings.cameras.values())
    return tuple(dict.fromkeys(named)) or (settings.model,)


def engines_in_use(settings: Settings) -> tuple[EngineKey, ...]:
    """The keys that the models in use would load; a model without weights here has none.

    Raises:
        ApplianceError: a model's card or weights cannot be read.
    """
    library, optimizer = library_of(settings), optimizer_of(settings)
    return tuple(
        optimizer.key(library.card(name), library.weights(name))
        for name in models_in_use(settings)
        if library.is_obtained(name)
    )


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


def check_models(settings: Settings) -> None:
    """Refuse names that no model has: they can only be judged once the state folder is known.

    Raises:
        SettingsProblems: with every variable that names such a model.
    """
    library = library_of(settings)
    known = {"", *library.names()}
    named = [(station_variables(), settings.model)]
    named += [(camera_variables(key), camera.model) for key, camera in settings.cameras.items()]
    # Strangers may read this: the models that people brought are nobody else's business.
    expected = (
        "name of a folder with a model.toml, below models in the state folder, "
        f"or of a model that ships: {', '.join(library.shipped_names())}"
    )
    problems = [
        Problem.of(variable, "names a model that is not here", expected=expected)
        for variables, name in named
        for variable in variables
        if variable.path[-1] == "model" and name not in known
    ]
    if problems:
        raise SettingsProblems(problems)


def hardware() -> dict[str, str]:
    """What this machine has to see with."""
    memory_gb = psutil.virtual_memory().total / 1e9
    streamer = re.search(r"GStreamer:\s*(\S+)", cv2.getBuildInformation())
    return {
        "Processor": f"{psutil.cpu_count(logical=False) or '–'} cores",
        "Memory": f"{memory_gb:.1f} GB",
        "NVIDIA GPU": "found" if Path("/dev/nvidiactl").exists() else "none",
        "OpenCV with GStreamer": streamer.group(1).lower() if streamer else "no",
    }


def inspection_text(weights: Path) -> str:
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
    return "\n".join(lines)
