"""A disk that fills up under a running station: what waits, what is said, and what comes back."""

import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support.metrics import families_of
from tests.support.process import (
    MODEL,
    TOKEN,
    started,
    station_environ,
    with_own_mounts,
    write_clip,
)

pytestmark = pytest.mark.slow

# Room for the database and some pictures; what was there before is copied into it.
MOUNT = 'mount -t tmpfs -o size=2m none "$STATE"; cp -a "$KEPT/." "$STATE"'
PAUSED = "Saving of pictures to verify with is paused: the disk is full"
STUCK = "The database cannot be written"


@pytest.fixture
def station(tmp_path):
    """A station whose state folder is a disk of 2 MB, and which keeps pictures of two cameras."""
    probe = subprocess.run([*with_own_mounts("true"), "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no mount namespace may be made here: {probe.stderr.decode()}")
    clip = str(write_clip(tmp_path / "clip.avi"))
    environ = station_environ(
        tmp_path,
        APPLIANCE_CAMERAS__GATE__URL=clip,
        APPLIANCE_CAMERAS__GATE__REPEAT="on",
        APPLIANCE_CAMERAS__DOCK__URL=clip,
        APPLIANCE_CAMERAS__DOCK__REPEAT="on",
        APPLIANCE_VERIFY__PICTURES="1000",
    )
    kept = shutil.copytree(tmp_path / "state", tmp_path / "kept")
    environ |= {"STATE": str(tmp_path / "state"), "KEPT": str(kept)}
    with started(environ, tmp_path / "log", prefix=with_own_mounts(MOUNT)) as process:
        process.wait_until_ready()
        yield process


def inside(station):
    """The state folder as the station sees it."""
    return Path(f"/proc/{station.child.pid}/root{station.environ['STATE']}")


def pictures(station):
    return len(list((inside(station) / "models" / MODEL / "verify").glob("*.jpg")))


def reasons(station):
    return " ".join(station.ready().json()["reasons"])


def figures(station):
    """What the metrics say of pictures that are not kept, and of entries that wait."""
    families = families_of(station.get("/metrics", Authorization=f"Bearer {TOKEN}").text)
    names = ("appliance_saving_paused", "appliance_database_waiting")
    return [families[name].samples[0].value for name in names]


def fill(folder):
    """Take the last byte of the disk."""
    with (folder / "ballast").open("wb", buffering=0) as ballast:
        for size in (65536, 4096, 1):
            try:
                while ballast.write(b"x" * size):
                    pass
            except OSError:
                continue


def test_a_full_disk_stops_what_is_kept_and_nothing_else(station):
    """Said in readiness and metrics, live views go on, and with room again all is written."""
    station.wait_until(lambda: pictures(station) == 2)
    cookie = {"cookie": station.sign_in("vera")}
    fill(inside(station))
    station.sign_in("ada")  # works all the same; its entries wait
    station.wait_until(lambda: STUCK in reasons(station))
    station.wait_until(lambda: PAUSED in reasons(station))
    paused, waiting = figures(station)
    assert paused == 1
    assert waiting > 0
    assert station.ready().json()["health"] == "degraded"
    assert station.ready().status_code == 200
    snapshot = httpx.get(f"{station.url}/api/cameras/gate/snapshot", headers=cookie, timeout=10)
    assert snapshot.status_code == 200
    before = pictures(station)
    (inside(station) / "ballast").unlink()
    station.wait_until(lambda: pictures(station) > before)
    station.wait_until(lambda: reasons(station) == "")
    assert figures(station) == [0, 0]
    lines = station.log.read_text().splitlines()
    told = [line for line in lines if "verify pictures:" in line or "database:" in line]
    assert "database: brought from form 0" in told.pop(0)
    assert len(told) == 4, told  # each trouble once, and its end once
    assert station.stop() == 0
