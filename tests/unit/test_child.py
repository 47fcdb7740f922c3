"""A build in a child process: what it tells, how it ends, and what it leaves to the station."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest
from loguru import logger

from appliance.app import child
from appliance.app.child import OOM_SCORE, PRIORITY, BuildChild
from appliance.errors import EngineError
from appliance.logs import is_logged
from tests.support.fakes import wait_until

LONG_S = 60.0
TELLS_ITS_ID = "import os; print(os.getpid(), flush=True)\n"
FOR_EVER = "import time\nwhile True: time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


def program(text):
    """A child that runs these lines of Python."""
    return [sys.executable, "-c", text]


class Told:
    """What a build told, and what was logged of it."""

    def __init__(self):
        self.stages, self.lines = [], []

    def __call__(self, stage, progress):
        self.stages.append((stage, progress))

    def pid(self):
        """Of the child, which prints it first."""
        wait_until(lambda: self.lines)
        return int(self.lines[0].removeprefix("build: "))


@pytest.fixture
def told():
    """Collects what builds tell."""
    collected = Told()
    sink = logger.add(lambda line: collected.lines.append(line.strip()), format="{message}")
    yield collected
    logger.remove(sink)


def background(child, command, told):
    """Run a build in a thread; gives the thread, and the error it ended with, once there."""
    errors = []

    def run():
        try:
            child.run(command, told)
        except EngineError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


def exists(pid):
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_progress_is_passed_on_and_other_lines_are_logged(told):
    """Lines of JSON are progress; what a library prints beside them harms nothing."""
    lines = [
        '{"stage": "Reading the model", "progress": 0.0}',
        "[W] a library warns",
        "7",
        '{"stage": "Loading the engine", "progress": null}',
    ]
    BuildChild(limit_s=LONG_S).run(program(f"print({chr(10).join(lines)!r})"), told)
    assert told.stages == [("Reading the model", 0.0), ("Loading the engine", None)]
    assert told.lines == ["build: [W] a library warns", "build: 7"]


def test_the_childs_own_words_are_the_error(told):
    """What it says before it fails is told, with its hint."""
    text = """print('{"error": "no room", "hint": "Make room."}'); raise SystemExit(1)"""
    with pytest.raises(EngineError, match=r"^no room$") as caught:
        BuildChild(limit_s=LONG_S).run(program(text), told)
    assert caught.value.hint == "Make room."


def test_a_child_that_says_nothing_is_told_by_its_status(told):
    """No build fails without a word."""
    with pytest.raises(EngineError, match="status 3"):
        BuildChild(limit_s=LONG_S).run(program("raise SystemExit(3)"), told)


def test_a_child_that_cannot_even_begin_is_told_by_its_last_words(told):
    """A library that is not there, an error at import: the reason arrives, and goes to the log."""
    text = "raise ImportError('libfoo.so: no such file')"
    with pytest.raises(EngineError, match=r"status 1: ImportError: libfoo\.so: no such file$"):
        BuildChild(limit_s=LONG_S).run(program(text), told)
    assert told.lines[0] == "build: Traceback (most recent call last):"


def test_a_child_that_writes_without_end_is_read_and_not_kept(told):
    """Neither of its two outputs fills up and holds it; of the errors few lines stay."""
    text = "import sys\nfor n in range(20_000): print(n, file=sys.stderr)\nsys.exit('the end')"
    with pytest.raises(EngineError, match="status 1: the end"):
        BuildChild(limit_s=LONG_S).run(program(text), told)
    assert len(told.lines) == 20_001


def test_the_last_words_of_a_child_are_waited_for_while_its_lines_still_come(told, monkeypatch):
    """A busy station reads them later than they were written; the last one is the reason."""
    monkeypatch.setattr(child, "GRACE_S", 0.05)
    monkeypatch.setattr(child, "is_logged", lambda *_, **__: time.sleep(0.002) or False)
    text = "import sys\nfor n in range(200): print(n, file=sys.stderr)\nsys.exit('the end')"
    with pytest.raises(EngineError, match="status 1: the end"):
        BuildChild(limit_s=LONG_S).run(program(text), told)
    assert len(told.lines) == 201


@pytest.mark.parametrize("held", ["stdout", "stderr"])
@pytest.mark.parametrize("does", ["exec sleep 60", "while :; do echo more >&2; sleep 0.01; done"])
def test_what_a_child_leaves_running_ends_with_it_and_holds_nobody_up(told, does, held):
    """Something that it has started holds its output open, silent or writing without end."""
    other = {"stdout": "stderr", "stderr": "stdout"}[held]
    text = (
        "import subprocess, sys\n"
        f"left = subprocess.Popen(['sh', '-c', {does!r}], {other}=subprocess.DEVNULL)\n"
        "print(left.pid, flush=True)\n"
        "sys.exit('the end')"
    )
    began_s = time.monotonic()
    with pytest.raises(EngineError, match="status 1"):
        BuildChild(limit_s=LONG_S).run(program(text), told)
    assert time.monotonic() - began_s < LONG_S / 2
    printed = (line.removeprefix("build: ") for line in told.lines)
    left = next(int(text) for text in printed if text.isdigit())
    wait_until(lambda: not is_running(left))
    wait_until(lambda: not any(each.name == "build-errors" for each in threading.enumerate()))


def is_running(pid):
    """Whether a process is there, and no corpse."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("layout", ["text", "json"])
def test_what_a_child_writes_is_a_line_of_the_log_or_becomes_one(told, capfd, layout):
    """Its own log goes on as it is, tracebacks too; what a library prints goes through ours."""
    text = (
        "import sys; from loguru import logger; from appliance.logs import *;"
        "from appliance.redaction import Redactor\n"
        f"setup('info', {layout!r}, ring=Ring(), redactor=Redactor())\n"
        "print('[W] of a library \\x1b[2J', file=sys.stderr)\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError: logger.exception('failed')\n"
        "print('    indented', file=sys.stderr) if 'json' in sys.argv else None\n"
        "print('{}', file=sys.stderr)\n"
    )
    BuildChild(limit_s=LONG_S).run([*program(text), layout], told)
    extra = ["build:     indented"] if layout == "json" else []
    assert told.lines == ["build: [W] of a library \x1b[2J", *extra, "build: {}"]
    passed = capfd.readouterr().err.splitlines()
    logged = [line for line in passed if is_logged(line, below_one=True)]
    assert "failed" in logged[0]
    assert "ZeroDivisionError" in "".join(logged)


def test_a_child_that_is_killed_most_likely_had_no_memory(told):
    """SIGKILL is how the kernel takes memory back; the hint says what to do."""
    text = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(EngineError, match="memory ran out") as caught:
        BuildChild(limit_s=LONG_S).run(program(text), told)
    assert "APPLIANCE_ENGINE__SHIPPED" in caught.value.hint


def test_a_child_that_crashes_names_the_signal(told):
    """A library that falls over takes its build with it, and nothing else."""
    text = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    with pytest.raises(EngineError, match="SIGSEGV"):
        BuildChild(limit_s=LONG_S).run(program(text), told)


def test_the_station_comes_first(told):
    """The child is niced, and the kernel ends it before the station when memory is short."""
    child = BuildChild(limit_s=LONG_S)
    thread, _ = background(child, program(f"{TELLS_ITS_ID}{FOR_EVER}"), told)
    pid = told.pid()
    wait_until(lambda: os.getpriority(os.PRIO_PROCESS, pid) == PRIORITY)
    path = Path(f"/proc/{pid}/oom_score_adj")
    wait_until(lambda: int(path.read_text(encoding="ascii")) == OOM_SCORE)
    child.stop()
    thread.join(10)


@pytest.mark.parametrize("manners", ["", DEAF], ids=["heeds", "deaf"])
def test_a_build_that_hangs_is_ended_at_its_limit(told, manners):
    """It is asked to end, then made to; the sentence names the variable that gives more time."""
    text = f"{manners}{FOR_EVER}"
    with pytest.raises(EngineError, match="was not done after") as caught:
        BuildChild(limit_s=0.3).run(program(text), told)
    assert "APPLIANCE_ENGINE__BUILD_MINUTES" in caught.value.hint


@pytest.mark.parametrize("manners", ["", DEAF], ids=["heeds", "deaf"])
def test_a_build_ends_with_the_station(told, manners):
    """The stop does not wait, and soon after it there is no child any more."""
    child = BuildChild(limit_s=LONG_S)
    text = f"{manners}{TELLS_ITS_ID}{FOR_EVER}"
    thread, errors = background(child, program(text), told)
    pid = told.pid()
    child.stop()
    child.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert not exists(pid)
    assert [str(error) for error in errors] == ["the build has ended with the station"]


def test_no_build_begins_once_the_station_ends(told, tmp_path):
    """A child that started after the stop would outlive its station."""
    child = BuildChild(limit_s=LONG_S)
    child.stop()
    mark = tmp_path / "ran"
    with pytest.raises(EngineError, match="no build is begun"):
        child.run(program(f"open({str(mark)!r}, 'w')"), told)
    assert not mark.exists()


def test_a_limit_that_was_not_needed_leaves_no_thread_behind(told):
    """Build after build, the number of threads stays what it was."""
    before = threading.active_count()
    child = BuildChild(limit_s=LONG_S)
    for _ in range(3):
        child.run(program("pass"), told)
    wait_until(lambda: threading.active_count() <= before)
