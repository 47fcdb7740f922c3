"""The real station in its own process, with a clip of moving squares as its camera."""

import atexit
import functools
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx

from appliance.settings.secrets import hash_password
from tests.support.models import paint, write_bright_spots

MODEL = "bright-spots"
PASSWORD = "password-of-the-tests"
TOKEN = "metrics-token-of-the-tests"
KIOSK_KEY = "kiosk-key-of-the-tests-32-letters-long"
USERS = {"ada": "admin", "vera": "viewer"}
PATIENCE_S = 120.0
GRACE_S = 8.0  # half of what the units and compose.yaml give before they kill
PLAIN: dict[str, Any] = {"verify": False}
"""For calls by http: authorities that none of them asks take 20 ms of the processor to load."""


@dataclass(frozen=True, slots=True)
class StationProcess:
    """A station that was started.

    Attributes:
        child: the process.
        url: of the page, base path included, without a slash at its end.
        log: its standard error.
        environ: its variables.
    """

    child: subprocess.Popen[bytes]
    url: str
    log: Path
    environ: Mapping[str, str]

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return re.match(r"https?://[^/]+", self.url).group(0)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """One request without a session."""
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=30, **PLAIN)

    def post(self, path: str, **headers: str) -> httpx.Response:
        """One request as the page sends it."""
        headers = {"Origin": self.origin, **headers}
        return httpx.post(f"{self.url}{path}", headers=headers, timeout=30, **PLAIN)

    def ready(self) -> httpx.Response:
        """What the station says of its readiness."""
        return self.get("/api/ready", Authorization=f"Bearer {TOKEN}")

    def sign_in(self, user: str = "ada") -> str:
        """Sign in; the Cookie header."""
        answer = httpx.post(
            f"{self.url}/login",
            data={"user": user, "password": PASSWORD},
            headers={"Origin": self.origin},
            timeout=60,
            **PLAIN,
        )
        assert answer.status_code == 303, answer.text
        return answer.headers["set-cookie"].partition(";")[0]

    def wait_until(self, what, patience_s: float = PATIENCE_S):
        """The first true value of `what()`; fails with the log when none comes."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise AssertionError(f"the station ended: {self.log.read_text()}")
            try:
                if value := what():
                    return value
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"waited {patience_s} s in vain; log: {self.log.read_text()}")

    def wait_until_ready(self) -> None:
        """Engine and loop run."""
        self.wait_until(lambda: self.ready().status_code == 200)

    def wait_until_page(self) -> None:
        """Gradio's page is up as well."""
        self.wait_until(lambda: "page: ready" in self.log.read_text())

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.child.terminate()
        return self.child.wait(GRACE_S)


def write_clip(path: Path, frames: int = 50) -> Path:
    """A clip of a red and a green square that move, 320 x 240, 10 fps.

    Few a second: stations play it, and browsers draw it, for as long as the tests wait.
    """
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for index in range(frames):
        shift = index % 25
        squares = [
            ("red", 40 + shift, 30, 84 + shift, 74),
            ("green", 190 - shift, 140, 234 - shift, 184),
        ]
        writer.write(paint(squares))
    writer.release()
    return path


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@functools.cache
def password_hash() -> str:
    """Of `PASSWORD`, as strong as the settings want it."""
    return hash_password(PASSWORD)


@functools.cache
def _built() -> Path:
    """A cache folder with the engine of `MODEL`, built once in each process of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="appliance-built-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    done = run(station_environ(folder, built=False), "build")
    assert done.returncode == 0, done.stderr
    return folder / "cache"


def station_environ(folder: Path, *, built: bool = True, **changes: str) -> dict[str, str]:
    """Variables of a station whose folders lie in `folder`.

    Args:
        folder: for state and cache.
        built: whether the engine is there, as after a first start.
        changes: more variables; an empty one takes one away.
    """
    write_bright_spots(folder / "state" / "models" / MODEL)
    if built:
        shutil.copytree(_built(), folder / "cache", dirs_exist_ok=True)
    own = {
        "APPLIANCE_PATHS__STATE": str(folder / "state"),
        "APPLIANCE_PATHS__CACHE": str(folder / "cache"),
        "APPLIANCE_MODEL": MODEL,
        "APPLIANCE_STATION__NAME": "Hall 3",
        "APPLIANCE_WEB__PORT": str(free_port()),
        "APPLIANCE_AUTH__USERS": "\n".join(
            f"{name}:{role}:{password_hash()}" for name, role in USERS.items()
        ),
        "APPLIANCE_AUTH__METRICS_TOKEN": TOKEN,
        "APPLIANCE_KIOSK__KEY": KIOSK_KEY,
    }
    kept = {k: v for k, v in os.environ.items() if not k.startswith("APPLIANCE_")}
    return {**kept, **own, **changes}


def restrained() -> tuple[str, ...]:
    """A prefix without root's right to pass over permissions; nothing for anybody else."""
    taken = "--bounding-set=-dac_override,-dac_read_search,-net_bind_service"
    return ("setpriv", taken) if os.geteuid() == 0 else ()


def with_own_mounts(script: str) -> tuple[str, ...]:
    """A prefix that runs shell lines in a mount namespace of its own, which ends with it."""
    mapped = () if os.geteuid() == 0 else ("--map-root-user",)
    return ("unshare", "--mount", *mapped, "sh", "-ec", f'{script}\nexec "$@"', "sh")


def run(
    environ: Mapping[str, str], *words: str, prefix: Sequence[str] = (), **options: Any
) -> subprocess.CompletedProcess[str]:
    """One command of the appliance, to its end; `prefix` is a program that starts it."""
    command = [*prefix, sys.executable, "-m", "appliance", *words]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=120, check=False, **options
    )


@contextmanager
def started(
    environ: Mapping[str, str], log: Path, *, prefix: Sequence[str] = ()
) -> Iterator[StationProcess]:
    """`appliance serve` until the block ends; `prefix` is a program that becomes it."""
    base = environ.get("APPLIANCE_WEB__BASE_PATH", "")
    url = f"http://127.0.0.1:{environ['APPLIANCE_WEB__PORT']}{base}"
    with log.open("wb") as stderr:
        command = [*prefix, sys.executable, "-m", "appliance", "serve"]
        child = subprocess.Popen(command, env=dict(environ), stderr=stderr)
        try:
            yield StationProcess(child, url, log, environ)
        finally:
            if child.poll() is None:
                child.kill()
            child.wait(10)


@contextmanager
def seeing(folder: Path, **changes: str) -> Iterator[StationProcess]:
    """A station whose camera `gate` plays a clip; engine and page are up, until the block ends."""
    clip = str(write_clip(folder / "clip.avi"))
    environ = station_environ(folder, APPLIANCE_CAMERAS__GATE__URL=clip, **changes)
    with started(environ, folder / "log") as station:
        station.wait_until_ready()
        station.wait_until_page()
        yield station
