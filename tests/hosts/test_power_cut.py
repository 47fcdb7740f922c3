"""The power goes while an engine is being built."""

import cv2
import pytest

from tests.support.hosts import STATE, UNIT
from tests.support.models import paint
from tests.support.process import MODEL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PICTURES = 100
"""Enough for a comparison of seconds, in which the power can go."""


def add_pictures(made):
    """Pictures to verify with, each with a red and a green square."""
    folder = made.box.path(f"{STATE}/models/{MODEL}/verify")
    folder.mkdir()
    for index in range(PICTURES):
        squares = [
            ("red", index, 20, index + 40, 60),
            ("green", 200 - index, 120, 250 - index, 170),
        ]
        cv2.imwrite(str(folder / f"{index}.png"), paint(squares))


def test_a_build_that_the_power_cut_off_is_made_anew(own_host):
    """The next boot trusts nothing half made: it builds, compares, and sees."""
    add_pictures(own_host)
    own_host.box.run("systemctl", "enable", UNIT)
    own_host.start()
    own_host.box.wait_until(lambda: "engine: Comparing" in own_host.box.journal())
    assert not own_host.is_ready()
    own_host.box.power_cut()
    own_host.box.boot()
    own_host.box.wait_until(own_host.is_ready)
    assert "engine: Comparing" in own_host.box.journal()  # of this boot
