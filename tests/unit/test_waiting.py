"""Work that waits for its turn ends once, whatever becomes of it."""

from collections import Counter
from concurrent.futures import Future

import numpy as np
import pytest

from appliance.errors import EngineError
from appliance.pipeline.asked import Asked
from appliance.pipeline.criteria import EVERYTHING
from appliance.pipeline.waiting import WAITING_LIMIT, Waiting
from appliance.pipeline.work import Urgency
from tests.support.fakes import LevelEngine, served
from tests.support.timed import TimedWork


def work(ended):
    return TimedWork("m", Urgency.BACKGROUND, 1, ended)


def test_what_nobody_waits_for_makes_room_and_fails_once():
    """It may hold memory, or owe somebody an answer."""
    waiting, gone, kept = Waiting(), Counter(), Counter()
    unwanted = [work(gone) for _ in range(WAITING_LIMIT)]
    for each in unwanted:
        waiting.put(each)
        each.is_wanted = False
    for _ in range(WAITING_LIMIT):
        waiting.put(work(kept))
    assert gone == {"nobody waits for it any more": WAITING_LIMIT}
    with pytest.raises(EngineError, match="too many"):
        waiting.put(work(kept))
    assert kept == {}


def test_what_fails_may_ask_again_at_once():
    """Nothing is locked then."""
    waiting, ended = Waiting(), Counter()
    first = work(ended)
    first.fail = lambda _error: waiting.put(work(ended))
    waiting.put(first)
    first.is_wanted = False
    waiting.put(work(ended))
    assert [waiting.take(Urgency.BACKGROUND) is not None for _ in range(3)] == [True, True, False]


def test_a_picture_that_was_cancelled_makes_room():
    """Whoever asked has gone, and hears nothing of it."""
    waiting, model = Waiting(), served("m", LevelEngine())
    fitted, fit = model.letterbox.fitted(np.zeros((32, 32, 3), np.uint8))
    answers = [Future() for _ in range(WAITING_LIMIT + 1)]
    asked = [Asked(model, fitted, fit, EVERYTHING.thresholds(model), 0, each) for each in answers]
    for each in asked[:-1]:
        waiting.put(each)
        each.answer.cancel()
    waiting.put(asked[-1])
    assert waiting.take(Urgency.PEOPLE) is asked[-1]
