"""The browser that the tests of a file share."""

from collections.abc import Iterator

import pytest

from tests.support.browser import close_shared


@pytest.fixture(scope="module", autouse=True)
def _shared_browser() -> Iterator[None]:
    """Each file has one at most: while it runs, its thread can run no other event loop."""
    yield
    close_shared()
