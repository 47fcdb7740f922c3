"""The process in which pictures are read: `python -m appliance.pictures.worker`.

It is asked on its standard input and answers on its standard output, one picture after the other:
a line of JSON, then bytes. It loads nothing that it does not need, takes no more memory and time
than a picture of the told size may, leaves the processor to the cameras, and is the first that the
kernel ends where memory is short.
"""

import json
import os
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from PIL import AvifImagePlugin, Image

from appliance.errors import PictureError
from appliance.pictures import BYTES_A_PIXEL, SPARED_BYTES, Limits
from appliance.pictures.reading import read_image

CPU_S: Final = 40  # for one picture; whoever asked has given up before
OOM_SCORE: Final = "1000"  # the kernel's word for: this one first
PRIORITY: Final = 10  # nice: engines, and so cameras, go first


def main() -> None:
    """Answer until nobody asks any more."""
    with suppress(OSError):  # a sandbox may forbid it
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE, encoding="ascii")
    os.nice(PRIORITY)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each one takes memory of its own
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    for line in iter(asked.readline, b""):
        _answer(json.loads(line), asked, answers)


def _answer(question: Mapping[str, Any], asked: BinaryIO, answers: BinaryIO) -> None:
    data = asked.read(question["size_bytes"])
    try:
        image = _read(data, Limits(**question["limits"]))
    except PictureError as error:
        _say(answers, {"error": str(error), "hint": error.hint})
        return
    except Exception as error:  # noqa: BLE001 - top of the process: told to whoever asks
        told = f"the picture cannot be read: {type(error).__name__}"
        _say(answers, {"error": told, "hint": "Export it again, or try another one."})
        return
    width, height = image.size
    _say(answers, {"width": width, "height": height})
    answers.write(image.tobytes())
    answers.flush()


def _say(answers: BinaryIO, document: Mapping[str, object]) -> None:
    answers.write(json.dumps(document).encode() + b"\n")
    answers.flush()


def _read(data: bytes, limits: Limits) -> Image.Image:
    """The picture, in the memory and the time that one of its size may take.

    Raises:
        PictureError: it is none, or takes more.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + CPU_S)
    before_bytes = _data_bytes() + 3 * len(data) + SPARED_BYTES

    def allow(size_wh: tuple[int, int]) -> None:
        needed_bytes = BYTES_A_PIXEL * size_wh[0] * size_wh[1]
        _limit(resource.RLIMIT_DATA, before_bytes + needed_bytes)

    allow((0, 0))
    try:
        return read_image(data, limits, allow)
    except MemoryError as error:
        raise PictureError(
            "the picture takes more memory than one of its size may", hint="Export it again."
        ) from error
    finally:
        _limit(resource.RLIMIT_DATA, resource.RLIM_INFINITY)


def _limit(kind: int, value: int) -> None:
    """The soft one: it can be raised again for the next picture."""
    resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


def _data_bytes() -> int:
    """What the kernel counts for RLIMIT_DATA."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").split("\n"):
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
