"""The process's own environment: the only place that reads or writes it."""

import ctypes
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from appliance.errors import StoreError
from appliance.settings.model import Paths
from appliance.settings.variables import DELIMITER, PREFIX

_FIXED = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}
"""No library calls home or fetches anything."""

_CAPTURE = {
    # Otherwise one lock for the whole process is held while FFmpeg opens a camera, and one that
    # is silent keeps every other from opening.
    "OPENCV_FFMPEG_IS_THREAD_SAFE": "1",
    # FFmpeg would write to standard error by itself, past the log and past its redaction.
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
}

_DEFAULTS = {
    # RTSP over UDP loses packets in busy networks, and every loss is a smeared picture.
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_transport;tcp",
    # OpenCV writes to standard error by itself, past the log and past its redaction.
    "OPENCV_LOG_LEVEL": "ERROR",
}
"""An operator's own value wins."""

_M_ARENA_MAX = -8  # as malloc.h of glibc has it
HEAPS = 2


def environment() -> Mapping[str, str]:
    """The variables of this process, as they are now."""
    return dict(os.environ)  # noqa: TID251 - the one reader; everyone else gets settings


def prepare_process(paths: Paths, *, environ: MutableMapping[str, str] | None = None) -> None:
    """Make the folders and point every library into them; call before importing those.

    Nothing may depend on a home folder: the user of a locked-down service has none.

    Args:
        paths: the three folders; those that are missing are made for this user alone.
        environ: the variables to change; this process's own unless given.

    Raises:
        StoreError: a folder cannot be made or written into.
    """
    if environ is None:
        environ = os.environ  # noqa: TID251 - the one writer; libraries read it
    for name in Paths.model_fields:
        folder = getattr(paths, name)
        _make_writable(folder, name)
        # Said aloud, so that a child process works in the very same folders.
        environ[f"{PREFIX}PATHS{DELIMITER}{name.upper()}"] = str(folder)
    environ.update(_FIXED)
    environ.update(_CAPTURE)
    environ["TMPDIR"] = str(paths.temporary)
    environ["XDG_CACHE_HOME"] = str(paths.cache)
    environ["MPLCONFIGDIR"] = str(paths.cache / "matplotlib")
    environ["CUDA_CACHE_PATH"] = str(paths.cache / "cuda")
    environ["GRADIO_TEMP_DIR"] = str(paths.temporary / "gradio")
    for name, value in _DEFAULTS.items():
        environ.setdefault(name, value)
    _share_heaps()


def keep_files_private() -> None:
    """From now on, what this process and its children make is for its own user alone.

    A folder that was there before may be open to others; units and containers set the same.
    """
    os.umask(0o077)


def begin_temporary(paths: Paths, *, environ: MutableMapping[str, str] | None = None) -> None:
    """Give this process an empty folder for temporary files; call once the state is its own.

    What a run that was cut off has left there is removed. The folder lies in the temporary one,
    where others may keep files too, and is named after the state, which no other station has.

    Raises:
        StoreError: it cannot be emptied.
    """
    if environ is None:
        environ = os.environ  # noqa: TID251 - the one writer; libraries read it
    place = hashlib.sha256(str(paths.state.resolve()).encode()).hexdigest()[:8]
    own = paths.temporary / f"station-{place}"
    try:
        if own.exists():
            shutil.rmtree(own)
        own.mkdir(mode=0o700)
    except OSError as error:
        raise StoreError(
            f"{own}: cannot be emptied ({error.strerror})",
            hint="Remove it, or name another folder in APPLIANCE_PATHS__TEMPORARY.",
        ) from error
    environ["TMPDIR"] = tempfile.tempdir = str(own)
    environ["GRADIO_TEMP_DIR"] = str(own / "gradio")


def call_directly(*, environ: MutableMapping[str, str] | None = None) -> None:
    """Forget the company's proxy; call before a station opens its first camera.

    FFmpeg sends http, https and rtsps cameras to the proxy that `http_proxy` names, for
    whatever scheme. A camera is on the station's own network, which a proxy seldom reaches.
    """
    if environ is None:
        environ = os.environ  # noqa: TID251 - the one writer; libraries read it
    for name in [name for name in environ if name.lower().endswith("_proxy")]:
        del environ[name]


def _share_heaps() -> None:
    """Let all threads share a few heaps; glibc gives each its own, which stays half empty.

    The large buffers are made once and the frame path takes no memory, so nobody queues.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # glibc's own; elsewhere there is nothing to share
        library.mallopt(_M_ARENA_MAX, HEAPS)


def _make_writable(folder: Path, name: str) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        variable = f"{PREFIX}PATHS{DELIMITER}{name.upper()}"
        raise StoreError(
            f"{folder}: cannot be written ({error.strerror})",
            hint=f"free space there and make it writable, or name another folder in {variable}",
        ) from error
