"""Hosts for the tests: installed once for all of them, booted for each that needs its own."""

import pytest

from tests.support.hosts import host, installed


@pytest.fixture(scope="session")
def layers():
    """Debian with the station installed."""
    return installed()


@pytest.fixture
def own_host(layers, tmp_path):
    """A machine that a test may do anything to."""
    with host(layers, tmp_path / "box") as made:
        yield made
