"""Reads pictures in a process of their own: what their bytes do to a decoder harms nobody else.

The process is kept for the next picture, since its start takes longer than most pictures.
"""

import json
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from typing import Final

import numpy as np

from appliance.errors import EngineError, PictureError
from appliance.pictures import Limits
from appliance.pictures.pixels import as_pixels
from appliance.values import U8

COMMAND: Final = (sys.executable, "-P", "-m", "appliance.pictures.worker")  # not from this folder
LIMIT_S: Final = 30.0  # for one picture
LINE_BYTES: Final = 10_000  # of an answer, before the pixels
PIPE_BYTES: Final = 1 << 20  # fewer switches between the two


class ReaderApart:
    """Reads one picture after the other. `read` and `rest` are called by one thread, `end` by any.

    Args:
        limit_s: for one picture.
    """

    def __init__(self, *, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._why = ""  # the picture at hand was given up; under the lock, as the process

    def read(self, data: bytes, limits: Limits) -> U8:
        """The picture in a file's bytes.

        Returns:
            (H, W, 3) uint8 BGR.

        Raises:
            PictureError: it is none, not whole, too large, or takes too long.
            EngineError: it was given up, or there is no process for it.
        """
        limits.check_bytes(len(data))
        too_long = f"the picture was not read within {self._limit_s:.0f} s"
        limit = threading.Timer(self._limit_s, self.end, (too_long,))
        limit.daemon = True
        process = self._started()
        limit.start()
        try:
            return _asked(process, data, limits)
        except (OSError, EOFError, ValueError, KeyError) as error:
            process.kill()
            status = process.wait()
            if self._why == too_long:
                raise PictureError(too_long, hint="Export it again, or save it smaller.") from error
            if self._why:
                raise EngineError(self._why) from error
            raise PictureError(
                f"reading the picture ended unexpectedly ({status})",
                hint="Export it again; if others end so as well, the station lacks memory.",
            ) from error
        finally:
            limit.cancel()

    def end(self, why: str) -> None:
        """End the process; whatever it reads now is given up. Idempotent, does not wait."""
        with self._lock:
            if self._process is not None:
                self._why = self._why or why
                self._process.kill()

    def rest(self) -> None:
        """Give its memory back until the next picture; idempotent."""
        process = self._process
        if process is None:
            return
        with self._lock:
            self._process = None
        with suppress(BrokenPipeError), process:  # it may not have taken all that was sent
            process.kill()

    def _started(self) -> "subprocess.Popen[bytes]":
        # One that was told to end may live for some milliseconds more: for no other's picture.
        if self._process is not None and (self._why or self._process.poll() is not None):
            self.rest()
        with self._lock:
            self._why = ""
            if self._process is None:
                self._process = _start()
            return self._process


def _start() -> "subprocess.Popen[bytes]":
    """A process that waits for pictures.

    Raises:
        EngineError: the system gives none, as where no descriptor or no memory is left.
    """
    try:
        # What libraries print of other people's pictures belongs into no log.
        return subprocess.Popen(  # noqa: S603 - our own command
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pipesize=PIPE_BYTES,
        )
    except OSError as error:
        raise EngineError(
            "no process can be started to read the picture", hint="Try again soon."
        ) from error


def _asked(process: "subprocess.Popen[bytes]", data: bytes, limits: Limits) -> U8:
    """What the process answers.

    Raises:
        PictureError: so it says.
        OSError, EOFError, ValueError, KeyError: it has ended, or says something else.
    """
    assert process.stdin is not None  # noqa: S101 - they were asked for
    assert process.stdout is not None  # noqa: S101
    question = {"size_bytes": len(data), "limits": asdict(limits)}
    process.stdin.write(json.dumps(question).encode() + b"\n")
    process.stdin.write(data)
    process.stdin.flush()
    answer = json.loads(process.stdout.readline(LINE_BYTES))
    if "error" in answer:
        raise PictureError(answer["error"], hint=answer["hint"])
    size_wh = int(answer["width"]), int(answer["height"])
    try:
        limits.check_pixels(size_wh)
    except PictureError:
        process.kill()  # its pixels would be taken for the next answer
        process.wait()
        raise
    rgb = np.empty((size_wh[1], size_wh[0], 3), np.uint8)
    if process.stdout.readinto(rgb.data.cast("B")) != rgb.nbytes:  # type: ignore[attr-defined]
        raise EOFError
    return as_pixels(rgb)
