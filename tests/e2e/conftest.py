"""The browser that the tests of a file share, and how a test tells what it has measured."""

import sys
from collections.abc import Callable, Iterator

import pytest

from tests.support.browser import close_shared


@pytest.fixture(scope="module", autouse=True)
def _shared_browser() -> Iterator[None]:
    """Each file has one at most: while it runs, its thread can run no other event loop."""
    yield
    close_shared()


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Writes a line where people see it, whether the test passes or not."""

    def write(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}\n")

    return write
