"""TensorRT and TensorRT for RTX: two libraries with one interface.

Neither is needed where nothing runs on it, so both are imported late.
"""

import importlib
import importlib.util
import signal
import subprocess
import sys
from collections import deque
from functools import cache
from typing import Any

from loguru import logger

from appliance.errors import EngineError

TITLES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}
EXTRAS = {"tensorrt": "cuda", "tensorrt_rtx": "rtx"}
TRIAL_S = 120
_TRIAL = """\
import importlib, sys
library = importlib.import_module(sys.argv[1])
library.Builder(library.Logger())
"""
_KEPT = 20


def library(name: str) -> Any:  # noqa: ANN401 - neither ships types
    """The library `tensorrt` or `tensorrt_rtx`, after another process has survived it.

    Raises:
        EngineError: it is not installed, not whole, or the process that tries it dies.
    """
    trial(name)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise _broken(name, str(error)) from error
        raise _missing(name) from error
    except (ImportError, OSError) as error:
        raise _broken(name, str(error)) from error


def version(name: str) -> str:
    """The library's version.

    Raises:
        EngineError: as `library` does.
    """
    return str(library(name).__version__)


@cache
def trial(name: str) -> None:
    """Have another process load the library and make a builder, once.

    Without a driver, or with one that is too old, that may end the process and not only fail.

    Raises:
        EngineError: it fails, or the process dies of it.
    """
    if importlib.util.find_spec(name) is None:
        raise _missing(name)
    command = [sys.executable, "-P", "-c", _TRIAL, name]
    try:
        tried = subprocess.run(  # noqa: S603 - this interpreter, and our own lines
            command, capture_output=True, text=True, timeout=TRIAL_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _broken(name, f"it does not answer within {TRIAL_S} s") from error
    if tried.returncode < 0:
        raise _broken(name, f"the process dies of {signal.Signals(-tried.returncode).name}")
    if tried.returncode:
        raise _broken(name, tried.stderr.strip().rpartition("\n")[2])


class Listener:
    """The logger that a library of the family is given: keeps errors until somebody asks.

    The library calls it, maybe from threads of its own.
    """

    def __init__(self, title: str, severities: Any) -> None:  # noqa: ANN401
        self._title = title
        self._severities = severities
        self._errors: deque[str] = deque(maxlen=_KEPT)

    def log(self, severity: Any, message: str) -> None:  # noqa: ANN401
        """Take down warnings and errors; of the rest there are hundreds of lines for each build."""
        if severity in {self._severities.VERBOSE, self._severities.INFO}:
            return
        line = " ".join(message.split())[:300]
        logger.debug("{}: {}", self._title, line)
        if severity in {self._severities.ERROR, self._severities.INTERNAL_ERROR}:
            self._errors.append(line)

    def take(self) -> tuple[str, ...]:
        """The last errors since somebody asked, the oldest first."""
        said = tuple(self._errors)
        self._errors.clear()
        return said


@cache
def listener(library: Any) -> Any:  # noqa: ANN401
    """The one `Listener` of a library, which is its `ILogger` as well.

    One, because a library keeps the first logger that it is given for as long as anything that
    was made with it lives, and tells no other one anything.
    """

    def init(self: Any) -> None:  # noqa: ANN401
        library.ILogger.__init__(self)
        title = TITLES.get(library.__name__, library.__name__)
        Listener.__init__(self, title, library.ILogger)

    return type("Logger", (Listener, library.ILogger), {"__init__": init})()


def _missing(name: str) -> EngineError:
    return EngineError(
        f"{TITLES[name]} is not installed", hint=f"Install the extra {EXTRAS[name]}."
    )


def _broken(name: str, why: str) -> EngineError:
    return EngineError(
        f"{TITLES[name]} cannot be used here: {why[:300]}",
        hint="Check that the NVIDIA driver is there, is new enough, and is let into the "
        "container; or set APPLIANCE_ENGINE__BACKEND=cpu.",
    )
