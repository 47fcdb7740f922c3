"""How long a release that was just started is watched, and what it is told."""

import pytest

from appliance.delivery.watch import Clock, Patience, watch

PATIENCE = Patience(steady_s=10, grace_s=20, build_s=100)
READY = {"ready": True, "health": "ready", "reasons": []}
FAILED = {"ready": False, "health": "failed", "reasons": ["the model is gone"]}
STARTING = {"ready": False, "health": "starting", "reasons": ["building, 43 %"]}


def watched(answer_at, *, must_be_ready=True):
    """The verdict, and how many seconds it took; `answer_at` gives the answer of a second."""
    now_s = 0.0

    def sleep(seconds):
        nonlocal now_s
        now_s += seconds

    clock = Clock(lambda: now_s, sleep)
    verdict = watch(lambda: answer_at(now_s), PATIENCE, clock, must_be_ready=must_be_ready)
    return verdict, now_s


def test_it_must_be_well_at_a_stretch():
    """From the first good answer on."""
    assert watched(lambda now_s: READY if now_s >= 6 else None) == ("", 16)


def test_one_that_never_answers_is_given_up():
    """After the grace, with what was seen."""
    assert watched(lambda _: None) == ("it does not answer", 22)


def test_one_that_never_gets_ready_tells_why():
    """In the station's own words."""
    verdict, seconds = watched(lambda _: FAILED)
    assert (verdict, seconds) == ("it does not get ready; the model is gone", 22)


@pytest.mark.parametrize("gap", [None, FAILED])
def test_one_that_comes_and_goes_is_given_up(gap):
    """However often it is well for a moment."""
    verdict, seconds = watched(lambda now_s: READY if now_s % 8 < 6 else gap)
    assert verdict
    assert seconds <= PATIENCE.grace_s + PATIENCE.steady_s


def test_an_engine_may_be_built_first():
    """That takes its time, and is said; then the same holds."""
    assert watched(lambda now_s: STARTING if now_s < 90 else READY) == ("", 100)
    verdict, seconds = watched(lambda _: STARTING)
    assert (verdict, seconds) == ("it does not get ready; building, 43 %", 122)


def test_a_build_that_fails_ends_the_patience_for_builds():
    """What is not well after that is given up."""
    verdict, seconds = watched(lambda now_s: STARTING if now_s < 50 else FAILED)
    assert (verdict, seconds) == ("it does not get ready; the model is gone", 50)


def test_where_the_old_one_was_not_ready_it_is_enough_to_answer():
    """Silence is still too little."""
    assert watched(lambda _: FAILED, must_be_ready=False) == ("", 10)
    assert watched(lambda _: None, must_be_ready=False)[0] == "it does not answer"
