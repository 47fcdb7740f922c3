"""The process's own environment: the only place that reads or writes it."""

import ctypes
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, MutableMapping
from fnmatch import fnmatchcase
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
}

_MONITOR = {
    # Gradio's own monitor, which no route leads to: it keeps a record of each event, and after each
    # sums up all of them with pandas, which is loaded for that alone.
    "GRADIO_ANALYTICS_MAX_EVENTS": "1",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**9),
}

_FORMS = (
    *("rtsp", "mpjpeg", "mjpeg", "mpegts", "flv", "h264", "hevc", "vvc", "obu", "ivf", "m4v"),
    *("mov", "matroska", "avi", "mpeg", "mpegvideo", "asf", "ogg", "mxf", "dhav", "dv", "h263"),
    *("image2", "jpeg_pipe", "png_pipe", "bmp_pipe", "tiff_pipe", "webp_pipe", "gif", "apng"),
)
"""Kinds of streams and files that hold their pictures: none that is a list of addresses."""

_CAPTURE_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_FFMPEG = {
    # RTSP over UDP loses packets in busy networks, and every loss is a smeared picture.
    "rtsp_transport": "tcp",
    # A camera could lead the station to whatever the station reaches.
    "max_redirects": "0",
    "format_whitelist": ",".join(_FORMS),
}
"""An operator's own value wins, option by option."""

# With either, OpenCV has FFmpeg write to standard error, past the log and past its redaction.
_LOUD = ("OPENCV_FFMPEG_LOGLEVEL", "OPENCV_FFMPEG_DEBUG")

_DEFAULTS = {
    # OpenCV writes to standard error by itself, past the log and past its redaction.
    "OPENCV_LOG_LEVEL": "ERROR",
}
"""An operator's own value wins."""

_FOLDERS = ("TMPDIR", "XDG_CACHE_HOME", "MPLCONFIGDIR", "CUDA_CACHE_PATH", "GRADIO_TEMP_DIR")
"""Set below, as all of the above are: a child process gets them from here."""

KEPT = (
    f"{PREFIX}*",
    *("PATH", "HOME", "USER", "LOGNAME"),  # where programs lie, and whose process it is
    *("LANG", "LANGUAGE", "LC_*", "TZ"),  # what a text and a time look like
    *("TERM", "NO_COLOR", "FORCE_COLOR"),  # what a terminal shows
    *("LD_*", "PYTHON*", "COVERAGE_*"),  # of loader and interpreter, which have read them already
    # Of the service manager.
    *("NOTIFY_SOCKET", "WATCHDOG_*", "LISTEN_*", "INVOCATION_ID", "JOURNAL_STREAM"),
    *("CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "CACHE_DIRECTORY", "RUNTIME_DIRECTORY"),
    # Which GPU there is, and where its libraries lie.
    *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_HOME", "CUDA_PATH", "NVIDIA_*"),
    *("GST_*", "XDG_*"),  # where GStreamer and others find their parts
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),  # whose certificates a camera may have
    *_FIXED,
    *_MONITOR,
    *_CAPTURE,
    _CAPTURE_OPTIONS,
    *_DEFAULTS,
    *_FOLDERS,
)
"""What a station and its builds heed of the environment, by name; `*` stands for any letters."""

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # as malloc.h of glibc has them
HEAPS = 2
APART_BYTES = 16 << 20


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
    environ.update(_MONITOR)
    environ.update(_CAPTURE)
    environ["TMPDIR"] = str(paths.temporary)
    environ["XDG_CACHE_HOME"] = str(paths.cache)
    environ["MPLCONFIGDIR"] = str(paths.cache / "matplotlib")
    environ["CUDA_CACHE_PATH"] = str(paths.cache / "cuda")
    environ["GRADIO_TEMP_DIR"] = str(paths.temporary / "gradio")
    for name, value in _DEFAULTS.items():
        environ.setdefault(name, value)
    environ[_CAPTURE_OPTIONS] = capture_options(environ.get(_CAPTURE_OPTIONS, ""))
    for name in _LOUD:
        environ.pop(name, None)
    share_heaps()


def capture_options(own: str = "") -> str:
    """What FFmpeg is told of each camera and file, as OpenCV wants it: `name;value|name;value`.

    Args:
        own: an operator's, in the same form.
    """
    pairs = (option.partition(";")[::2] for option in own.split("|") if option)
    return "|".join(f"{name};{value}" for name, value in (_FFMPEG | dict(pairs)).items())


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


def forget_foreign_variables(*, environ: MutableMapping[str, str] | None = None) -> tuple[str, ...]:
    """Forget what is not in `KEPT`; call before the libraries of a station are imported.

    Each library reads variables of its own: they would open folders, name another root path, write
    keys of TLS into a file, or tell somebody of each request. FFmpeg would call cameras by way of
    the company's proxy, which seldom reaches them.

    Returns:
        The names that are forgotten.
    """
    if environ is None:
        environ = os.environ  # noqa: TID251 - the one writer; libraries read it
    names = [name for name in environ if not any(fnmatchcase(name, kept) for kept in KEPT)]
    for name in names:
        del environ[name]
    return tuple(sorted(names))


def share_heaps() -> None:
    """Let all threads share a few heaps; glibc gives each its own, which stays half empty.

    The large buffers are made once and the frame path takes no memory, so nobody queues. What is
    larger than most pictures lies apart: it goes back when it is freed, and grows without a copy.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # glibc's own; elsewhere there is nothing to share
        library.mallopt(_M_ARENA_MAX, HEAPS)
        library.mallopt(_M_MMAP_THRESHOLD, APART_BYTES)


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
