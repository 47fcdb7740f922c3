"""OpenCV's FFmpeg: opened in one place, listened to, kept from other hosts and within memory.

OpenCV does not look at what FFmpeg's scaler returns: a picture that it refuses, as it does each
interlaced one, is told as read, and its memory holds the picture before, or whatever lay there.
It does not tell either what kind of stream it opened, and FFmpeg follows an RTSP camera to
whatever address that names. FFmpeg's log is the only trace of all three.
"""

import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2

ROOM_BYTES = 36_000_000  # for 4K; also the longest part of a stream
BYTES_PER_PIXEL = 4  # of a picture as BGR, and of one that hardly compresses

_ERROR = 16  # a level, as FFmpeg's log.h has it
_LINE_BYTES = 4608  # an address may have 4096
_PROBED = b"Format %s probed with"
_REDIRECTS = b"Status %d: Redirecting to "
_LOGGER = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p
)  # object, level, format, va_list
_Hear = Callable[[int | None, int, bytes, int], None]


@dataclass(slots=True)
class Opened:
    """A video, as far as it could be opened.

    Attributes:
        handle: OpenCV's; whoever asked for it releases it.
        form: FFmpeg's name for the kind of stream; empty where it did not have to guess.
        led_to: where an RTSP camera wanted to lead; it was not followed.
    """

    handle: cv2.VideoCapture
    form: str = ""
    led_to: str = ""


class Ffmpeg:
    """The FFmpeg that OpenCV is linked with. Thread-safe.

    FFmpeg has one logger for the whole process. It is silent, and ours stands there only while
    somebody listens: FFmpeg calls it for each line of every thread, and each call waits for
    Python's lock.

    Attributes:
        room_bytes: what one allocation of FFmpeg's may take.
    """

    def __init__(self) -> None:
        # Looking a name up in OpenCV's library finds those that it was linked with.
        self._library = ctypes.CDLL(getattr(cv2, "_native", cv2).__file__)
        self._is_there = hasattr(self._library, "av_log_format_line2")
        self._logger = _LOGGER(self._hear)  # for ever: a thread may still be in it
        self._lock = threading.Lock()
        self._listeners: dict[int, _Hear] = {}
        self.room_bytes = 0
        if self._is_there:
            self._library.av_max_alloc.argtypes = (ctypes.c_size_t,)
            self._library.av_log_set_callback(None)
            self.make_room(ROOM_BYTES // BYTES_PER_PIXEL)

    def open(self, address: str, options: Sequence[int] = ()) -> Opened:
        """Open a file or camera; `options` are OpenCV's, name and value in turn."""
        heard = Opened(handle=cv2.VideoCapture())

        def hear(context: int | None, level: int, form: bytes, values: int) -> None:
            if form.startswith(_PROBED):
                heard.form = self._line(level, form, values).split()[1]
            elif form.startswith(_REDIRECTS):
                heard.led_to = self._line(level, form, values).rpartition(" ")[2]
                # It connects there next, by a protocol that it may not use from now on.
                self._library.av_opt_set(ctypes.c_void_p(context), b"protocol_whitelist", b"-", 0)

        with self._listening(hear):
            heard.handle.open(address, cv2.CAP_FFMPEG, list(options))
        return heard

    def complaint(self, convert: Callable[[], object]) -> str:
        """Convert, and return FFmpeg's first error in this thread; empty when there is none.

        It is always empty where OpenCV is not linked with FFmpeg, so that nothing can be heard.
        """
        said: list[str] = []

        def hear(_context: int | None, level: int, form: bytes, values: int) -> None:
            if level <= _ERROR and not said:
                said.append(self._line(level, form, values) or "error")

        with self._listening(hear):
            convert()
        return said[0] if said else ""

    def make_room(self, pixels: int) -> bool:
        """Let pictures of so many pixels be read; whether there was no room for them before.

        It holds for the whole process and never shrinks.
        """
        with self._lock:
            wanted_bytes = pixels * BYTES_PER_PIXEL
            if not self._is_there or wanted_bytes <= self.room_bytes:
                return False
            self.room_bytes = wanted_bytes
            self._library.av_max_alloc(wanted_bytes)
            return True

    @contextmanager
    def _listening(self, hear: _Hear) -> Iterator[None]:
        if not self._is_there:
            yield
            return
        thread = threading.get_ident()
        with self._lock:
            self._listeners[thread] = hear
            self._library.av_log_set_callback(self._logger)
        try:
            yield
        finally:
            with self._lock:
                del self._listeners[thread]
                if not self._listeners:
                    self._library.av_log_set_callback(None)

    def _hear(self, context: int | None, level: int, form: bytes, values: int) -> None:
        hear = self._listeners.get(threading.get_ident())
        if hear is not None:
            hear(context, level, form, values)

    def _line(self, level: int, form: bytes, values: int) -> str:
        line = ctypes.create_string_buffer(_LINE_BYTES)
        prefix = ctypes.c_int(0)
        self._library.av_log_format_line2(
            None, level, form, ctypes.c_void_p(values), line, _LINE_BYTES, ctypes.byref(prefix)
        )
        return line.value.decode(errors="replace").strip()


FFMPEG = Ffmpeg()
