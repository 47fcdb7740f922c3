"""One engine and one build of the image for all tests of containers."""

import pytest

from tests.support import boxes, dockerd


@pytest.fixture(scope="session")
def bare_engine(tmp_path_factory):
    """A Docker engine, with a Debian to start from, and the proxy."""
    with dockerd.engine(tmp_path_factory.mktemp("docker")) as running:
        dockerd.base_image(running)
        dockerd.proxy_image(running)
        yield running


@pytest.fixture(scope="session")
def engine(bare_engine):
    """The same, with the station's image for a CPU, built as the document says."""
    dockerd.station_image(bare_engine, boxes.blocks()[boxes.BUILD])
    return bare_engine
