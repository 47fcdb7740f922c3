"""Rolling figures of one camera."""

import numpy as np
import pytest

from appliance.pipeline.stats import HISTORY_S, MINUTE_S, WINDOW_S, CameraStats
from appliance.predictions import Instances, Result
from appliance.values import FrameStamp
from tests.support.fakes import Clock


@pytest.fixture
def clock():
    """Stands still unless moved."""
    return Clock()


@pytest.fixture
def stats(clock):
    """Figures on that clock."""
    return CameraStats(clock)


def record(stats, clock, *, inference_ms=10.0, age_ms=30.0):
    captured_ns = clock.now_ns - round(age_ms * 1e6)
    stamp = FrameStamp(1, captured_ns, 0.0)
    result = Result(
        "door", stamp, (64, 48), "detection", Instances.empty(), inference_ms, clock.now_ns
    )
    stats.record(result)


def test_nothing_is_known_before_the_first_result(stats):
    """Without results every figure is unknown, none is a made-up zero."""
    found = stats.figures()
    assert (found.fps, found.inference_ms, found.age_ms, found.age_p99_ms) == (None,) * 4
    assert (found.inferred, found.dropped_per_minute, found.fps_history) == (0, 0, ())


def test_the_rate_is_measured_between_results(stats, clock):
    """Twenty results a second are 20 fps; a single one is no rate."""
    record(stats, clock)
    assert stats.figures().fps is None
    for _ in range(40):
        clock.advance(0.05)
        record(stats, clock)
    assert stats.figures().fps == pytest.approx(20)


def test_figures_are_of_the_last_seconds(stats, clock):
    """What is older than the window no longer counts, also when nothing new comes."""
    record(stats, clock, inference_ms=500)
    clock.advance(WINDOW_S + 0.1)
    record(stats, clock, inference_ms=8)
    found = stats.figures()
    assert (found.inference_ms, found.inference_p99_ms, found.inferred) == (8, 8, 2)
    clock.advance(WINDOW_S + 0.1)
    found = stats.figures()
    assert (found.fps, found.inference_ms, found.inferred) == (None, None, 2)


def test_median_and_99th_percentile(stats, clock):
    """The middle of a hundred results, and the slowest one in a hundred."""
    for value in np.random.default_rng(0).permutation(100):
        record(stats, clock, inference_ms=float(value), age_ms=float(value) + 1000)
    found = stats.figures()
    assert found.inference_ms == pytest.approx(50)
    assert found.inference_p99_ms == pytest.approx(99)
    assert found.age_ms == pytest.approx(1050)
    assert found.age_p99_ms == pytest.approx(1099)


def test_the_history_tells_silence_from_absence(stats, clock):
    """A live camera without results has a rate of 0; one that is away has none."""
    for _ in range(3):
        record(stats, clock)
    stats.sample(dropped=0, live=True)
    stats.sample(dropped=0, live=True)
    stats.sample(dropped=0, live=False)
    assert stats.figures().fps_history == (3.0, 0.0, None)


def test_drops_are_those_of_the_last_minute(stats):
    """The counter since the start becomes a rate over 60 seconds."""
    for second in range(200):
        stats.sample(dropped=2 * second, live=True)
    assert stats.figures().dropped_per_minute == 2 * MINUTE_S


def test_nothing_grows_for_ever(stats, clock):
    """After many hours the memory is that of the window and the history."""
    for _ in range(2 * HISTORY_S):
        clock.advance(1)
        record(stats, clock)
        stats.sample(dropped=0, live=True)
    assert len(stats.figures().fps_history) == HISTORY_S
    assert len(stats._recent) <= WINDOW_S + 1
    assert stats.figures().inferred == 2 * HISTORY_S
