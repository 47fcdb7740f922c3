"""The last hour of each camera: means and peaks in steps, gaps where nothing is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.pipeline.history import SPAN_S, STEP_S, STEPS, History
from tests.support.fakes import Clock

# A step's start, so that a test's seconds fall where it says.
START_S = 1000.0
numbers = st.floats(0, 1e4, width=32)


@pytest.fixture
def clock():
    return Clock(START_S)


@pytest.fixture
def history(clock):
    return History(["gate", "dock"], clock)


def seconds(history, clock, count, *, fps=25.0, age_ms=40.0, inference_ms=11.0):
    """One sample a second, then the second passes."""
    for _ in range(count):
        history.add("gate", fps, age_ms, inference_ms)
        clock.advance(1)


def gate(history):
    return history.hour().series["gate"]


def test_in_the_beginning_nothing_is_known(history):
    """Unknown is no zero: every step of every camera is a gap."""
    hour = history.hour()
    assert set(hour.series) == {"gate", "dock"}
    for series in hour.series.values():
        for values in (series.fps, series.age_ms, series.inference_ms):
            assert values.shape == (STEPS,)
            assert np.isnan(values).all()


def test_a_step_holds_the_mean_rate_and_the_worst_median(history, clock):
    """A short stall is averaged in the rate, and stays seen in age and latency."""
    for fps, age_ms, inference_ms in ((20, 30, 10), (30, 90, 12), (25, 40, 55)):
        history.add("gate", fps, age_ms, inference_ms)
        clock.advance(1)
    series = gate(history)
    assert (series.fps[-1], series.age_ms[-1], series.inference_ms[-1]) == (25, 90, 55)
    assert np.isnan(series.fps[:-1]).all()
    assert np.isnan(history.hour().series["dock"].fps).all()


def test_a_camera_that_is_live_and_not_inferred_has_a_rate_of_zero_and_no_age(history):
    """Before the engine is up there are pictures and no results: 0 fps is known, an age is not."""
    history.add("gate", 0.0, None, None)
    series = gate(history)
    assert series.fps[-1] == 0
    assert np.isnan(series.age_ms[-1])


def test_a_camera_that_was_away_leaves_a_gap(history, clock):
    """Steps in which nobody could say anything are unknown, those around them stay."""
    seconds(history, clock, STEP_S)
    clock.advance(3 * STEP_S)
    seconds(history, clock, 1)
    known = ~np.isnan(gate(history).fps)
    assert known[-5:].tolist() == [True, False, False, False, True]


def test_after_an_hour_the_oldest_goes_first(history, clock):
    """The ring wraps: the newest hour is there, in order, and nothing older."""
    for step in range(STEPS + 7):
        seconds(history, clock, STEP_S, fps=float(step))
    clock.advance(-1)  # back into the last step that was written
    assert gate(history).fps.tolist() == [float(step) for step in range(7, STEPS + 7)]


def test_a_clock_that_jumps_far_ahead_empties_the_hour(history, clock):
    """A machine that slept for a day has no last hour, and goes on with the next second."""
    seconds(history, clock, 100)
    clock.advance(24 * 3600)
    assert np.isnan(gate(history).fps).all()
    seconds(history, clock, 1, fps=7.0)
    assert gate(history).fps[-1] == 7
    assert np.isnan(gate(history).fps[:-1]).all()


def test_a_clock_that_jumps_back_harms_nothing(history, clock):
    """Should the clock step back, the newest step goes on; nothing known is lost."""
    seconds(history, clock, STEP_S, fps=20.0)
    clock.advance(-600)
    seconds(history, clock, 1, fps=30.0)
    assert gate(history).fps[-1] == pytest.approx((20 * STEP_S + 30) / (STEP_S + 1))
    assert history.hour().ago_s.min() == 0


def test_time_passes_while_nobody_writes(history, clock):
    """Asked later, the same values lie further back: a supervisor that hangs leaves a gap."""
    seconds(history, clock, STEP_S)
    clock.advance(5 * STEP_S)
    assert np.flatnonzero(~np.isnan(gate(history).fps)).tolist() == [STEPS - 7]


def test_every_step_says_how_long_ago_it_began(history, clock):
    """The newest began within the last ten seconds, the oldest an hour ago."""
    clock.advance(3.5)
    ago_s = history.hour().ago_s
    assert ago_s[-1] == pytest.approx(3.5)
    assert ago_s[0] == pytest.approx(SPAN_S - STEP_S + 3.5)
    assert np.allclose(np.diff(ago_s), -STEP_S)


def test_what_is_handed_out_is_a_copy(history, clock):
    """A page may hold a reading while the station goes on."""
    seconds(history, clock, 1, fps=5.0)
    before = gate(history)
    seconds(history, clock, 5, fps=50.0)
    assert before.fps[-1] == 5


@given(st.lists(st.tuples(numbers, numbers, st.integers(0, 4000)), max_size=60))
def test_whatever_was_added_the_hour_holds_nothing_but_it(samples):
    """A step's mean and peak lie within what was added, whatever the times between."""
    clock = Clock(START_S)
    history = History(["gate"], clock)
    for fps, age_ms, pause_s in samples:
        history.add("gate", fps, age_ms, None)
        clock.advance(pause_s)
    series = gate(history)
    assert np.isnan(series.inference_ms).all()
    for values, added in ((series.fps, 0), (series.age_ms, 1)):
        known = values[~np.isnan(values)]
        if len(known):
            assert known.min() >= min(sample[added] for sample in samples) - 1e-2
            assert known.max() <= max(sample[added] for sample in samples) + 1e-2
