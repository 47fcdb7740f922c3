"""Whether FFmpeg really converted a picture.

OpenCV does not look at what FFmpeg's scaler returns: a picture that it refuses, as it does each
interlaced one, is told as read, and its memory holds the picture before, or whatever lay there.
FFmpeg logs the refusal, and that is the only trace of it.
"""

import ctypes
import threading
from collections.abc import Callable

import cv2

_QUIET, _ERROR = -8, 16  # levels, as FFmpeg's log.h has them
_LINE_BYTES = 512
_LOGGER = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p
)  # object, level, format, va_list


class Conversions:
    """Listens to FFmpeg's log while one picture is converted. Thread-safe.

    FFmpeg has one logger for the whole process. Ours stands there for the time of one conversion
    only: FFmpeg calls it for each line of every thread, and each call waits for Python's lock.
    """

    def __init__(self) -> None:
        # Looking a name up in OpenCV's library finds those that it was linked with.
        self._library = ctypes.CDLL(getattr(cv2, "_native", cv2).__file__)
        self._can_listen = hasattr(self._library, "av_log_format_line2")
        self._logger = _LOGGER(self._hear)  # for ever: a thread may still be in it
        self._turn = threading.Lock()
        self._thread = 0
        self._said = ""

    def complaint(self, convert: Callable[[], object]) -> str:
        """Convert, and return FFmpeg's first error in this thread; empty when there is none.

        It is always empty where OpenCV is not linked with FFmpeg, so that nothing can be heard.
        """
        if not self._can_listen:
            convert()
            return ""
        with self._turn:
            self._thread, self._said = threading.get_ident(), ""
            self._library.av_log_set_callback(self._logger)
            try:
                convert()
            finally:
                self._library.av_log_set_level(_QUIET)
                self._library.av_log_set_callback(self._library.av_log_default_callback)
            return self._said

    def _hear(self, _object: int, level: int, form: bytes, values: int) -> None:
        if level > _ERROR or self._said or threading.get_ident() != self._thread:
            return
        line = ctypes.create_string_buffer(_LINE_BYTES)
        prefix = ctypes.c_int(0)
        self._library.av_log_format_line2(
            None, level, form, ctypes.c_void_p(values), line, _LINE_BYTES, ctypes.byref(prefix)
        )
        self._said = line.value.decode(errors="replace").strip() or "error"


CONVERSIONS = Conversions()
