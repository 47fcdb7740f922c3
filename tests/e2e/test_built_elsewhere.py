"""Engines that are built on one box, or in one container, and shipped to others of its kind."""

import json

import pytest

from tests.support.process import MODEL, run, station_environ

pytestmark = pytest.mark.slow


def built(environ, *words):
    """The stages that a build goes through."""
    done = run(environ, "build", "--json", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["stage"] for line in done.stdout.splitlines()]


def test_what_is_built_into_a_folder_serves_where_it_is_shipped(tmp_path):
    """`--out` leaves the box's own cache alone; the next box verifies the engine and takes it."""
    desk = station_environ(tmp_path / "desk", built=False)
    out = tmp_path / "out"
    stages = built(desk, "--out", str(out))
    assert len(list(out.glob(f"engines/{MODEL}/*/engine.json"))) == 1
    assert list((tmp_path / "desk" / "cache").glob("engines/*")) == []
    shipped = {"APPLIANCE_ENGINE__SHIPPED": str(out / "engines")}
    box = station_environ(tmp_path / "box", built=False, **shipped)
    taken = built(box)
    assert "Rewriting the graph" in stages
    assert "Rewriting the graph" not in taken
    assert "Comparing with the original" in taken
