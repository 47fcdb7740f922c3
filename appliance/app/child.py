"""Builds in a child process, which cannot take the station down.

It is niced, and first in line when the kernel needs memory. It says how far it is in lines of JSON
on its standard output (`appliance build --json`), and is ended where it takes too long.
"""

import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread, Timer
from typing import IO, Any, Final

from loguru import logger

from appliance.errors import EngineError
from appliance.logs import is_logged
from appliance.runtimes import Progress

PRIORITY: Final = 10  # nice
OOM_SCORE: Final = 1000  # the kernel's word for: this one first
LINES_KEPT: Final = 20  # of its error output: where it says nothing else, the last one is why
GRACE_S: Final = 1.0  # to end in order; a library may hold it for minutes
READING_GRACES: Final = 30  # of these while lines of a child that has ended still come

MEMORY_HINT = (
    "Free memory on this box, or build where there is more and bring the engine: "
    "APPLIANCE_ENGINE__SHIPPED. On a GPU a lower APPLIANCE_ENGINE__WORKSPACE_MB needs less."
)
_TIME_HINT = (
    "APPLIANCE_ENGINE__BUILD_MINUTES gives it more time; "
    "a lower APPLIANCE_ENGINE__OPTIMIZATION_LEVEL needs less."
)


class BuildChild:
    """Runs one build at a time. `run` is called by one thread, `stop` by any.

    Args:
        limit_s: after which a build counts as hung.
    """

    def __init__(self, *, limit_s: float) -> None:
        self._limit_s = limit_s
        self._child: subprocess.Popen[str] | None = None
        self._has_stopped = False
        self._lock = Lock()  # a child is never started after the stop

    def run(self, command: Sequence[str], progress: Progress) -> None:
        """Run a build to its end.

        Args:
            command: program and arguments; tells in lines of JSON.
            progress: told what the child tells.

        Raises:
            EngineError: it failed, was ended, or the station ends.
        """
        overdue = Event()

        def end_overdue() -> None:
            overdue.set()
            _end(child)

        with self._start(command) as child, _passed_on(child.stderr) as said:
            limit = Timer(self._limit_s, end_overdue)
            limit.daemon = True
            limit.start()
            try:
                assert child.stdout is not None  # noqa: S101 - it was asked for
                last = _listen(child.stdout, progress)
            finally:
                limit.cancel()
        if self._has_stopped:
            raise EngineError("the build has ended with the station")
        if overdue.is_set():
            raise EngineError(
                f"the build was not done after {self._limit_s / 60:.0f} minutes and was ended",
                hint=_TIME_HINT,
            )
        if child.returncode:
            raise _failure(child.returncode, last, said)

    def stop(self) -> None:
        """End the build that is under way, and begin none; idempotent, does not wait."""
        with self._lock:
            self._has_stopped = True
            if self._child is not None:
                _end(self._child)

    def _start(self, command: Sequence[str]) -> "subprocess.Popen[str]":
        with self._lock:
            if self._has_stopped:
                raise EngineError("the station ends; no build is begun")
            # Its streams are read as UTF-8, whatever the locale; a library's bytes break nothing.
            child = subprocess.Popen(  # noqa: S603 - our own command
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="backslashreplace",
                start_new_session=True,  # all that it starts is one group, and ends with it
            )
            self._child = child
        Thread(target=_end_group, args=(child,), name="build-group", daemon=True).start()
        os.setpriority(os.PRIO_PROCESS, child.pid, PRIORITY)
        try:
            Path(f"/proc/{child.pid}/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")
        except OSError as error:  # it has ended already, or the sandbox forbids it
            logger.warning("build: the kernel may end the station in its place: {}", error)
        return child


def _end_group(child: "subprocess.Popen[str]") -> None:
    """What a child has left running ends with it: else it would hold the child's output open."""
    child.wait()
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has left nothing


def _end(child: "subprocess.Popen[str]") -> None:
    """Ask it to end, and make it end if it does not heed."""
    child.terminate()
    force = Timer(GRACE_S, child.kill)  # does nothing once it has ended
    force.daemon = True
    force.start()


@contextmanager
def _passed_on(errors: IO[str] | None) -> Iterator[deque[str]]:
    """Its error output goes on into the log, and the last lines are kept.

    What the child has logged is a line of the log as it is; the rest is a library's.
    """
    assert errors is not None  # noqa: S101 - it was asked for
    kept: deque[str] = deque(maxlen=LINES_KEPT)

    counted = [0]

    def pass_on() -> None:
        is_text = False
        for line in _until_closed(errors):
            counted[0] += 1
            kept.append(line.strip())
            has_logged = is_logged(line.rstrip("\n"), below_one=is_text)
            is_text = has_logged and not line.startswith("{")
            if has_logged:
                sys.stderr.write(line)
                sys.stderr.flush()
            else:
                logger.info("build: {}", line.rstrip())

    thread = Thread(target=pass_on, name="build-errors", daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        _read_out(thread, lambda: counted[0])


def _read_out(reader: Thread, lines: Callable[[], int]) -> None:
    """Wait until all is read that was written: what comes last is the reason.

    Something that the child started may hold its output open and write nothing, or without end.
    """
    for _ in range(READING_GRACES):
        before = lines()
        reader.join(GRACE_S)
        if not reader.is_alive() or lines() == before:
            return


def _until_closed(lines: IO[str]) -> Iterator[str]:
    """The lines, to their end or until somebody has closed them, who waits for no more."""
    try:
        yield from lines
    except ValueError:
        if not lines.closed:
            raise


def _listen(lines: Iterable[str], progress: Progress) -> dict[str, Any]:
    """Pass on what the child tells until it closes its output; the last thing it said."""
    last: dict[str, Any] = {}
    for line in lines:
        told = _parsed(line)
        if told is None:  # a library that prints: worth a line, not an engine
            logger.info("build: {}", line.rstrip())
            continue
        last = told
        if "stage" in told:
            progress(str(told["stage"]), told.get("progress"))
    return last


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _failure(status: int, last: dict[str, Any], said: Iterable[str]) -> EngineError:
    if status == -signal.SIGKILL:
        return EngineError(
            "the build was killed, most likely because memory ran out", hint=MEMORY_HINT
        )
    if status < 0:
        return EngineError(
            f"the build was ended by {signal.Signals(-status).name}",
            hint="Start the station again; if it stays, the log on the System page tells more.",
        )
    if "error" in last:
        return EngineError(str(last["error"]), hint=str(last.get("hint", "")))
    reason = [line for line in said if line][-1:] or ["it said nothing"]
    return EngineError(
        f"the build ended with status {status}: {reason[0][:300]}",
        hint="Start the station again; if it stays, the log on the System page tells more.",
    )
