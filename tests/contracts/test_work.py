"""Whatever the loop serves: placed, then finished or failed, and ended once."""

from collections import Counter
from concurrent.futures import Future

import numpy as np
import pytest

from appliance.errors import EngineError
from appliance.pipeline.asked import Asked
from appliance.pipeline.criteria import EVERYTHING
from appliance.pipeline.lanes import Lane, Lanes
from appliance.pipeline.work import Inference, Urgency
from tests.support.fakes import LevelEngine, PaintedCamera, served
from tests.support.timed import TimedWork

ERROR = EngineError("planted")


class Rig:
    """One kind of work, its model, and how it ended."""

    def __init__(self):
        self.ended = []
        self.model = served("m", LevelEngine())
        self.slot = self.model.engine.slots[0]

    def frame(self):
        self.camera = PaintedCamera()
        self.camera.show(7)
        lane = Lane("door", self.camera, "m")

        def publish(_result, _lease):
            self.ended.append("finished")

        lanes = Lanes([lane], on_result=publish, clock_ns=lambda: 0)
        return lanes.next(lambda _model: True)

    def asked(self):
        picture = np.full((32, 32, 3), 7, np.uint8)
        fitted, fit = self.model.letterbox.fitted(picture)
        answer = Future()
        answer.add_done_callback(lambda it: self.ended.append(it.exception() or "finished"))
        return Asked(self.model, fitted, fit, EVERYTHING.thresholds(self.model), 0, answer)

    def background(self):
        return TimedWork("m", Urgency.BACKGROUND, 7, Counter())

    def held(self):
        camera = getattr(self, "camera", None)
        return camera.held if camera else 0


KINDS = {"frame": Urgency.LIVE, "asked": Urgency.PEOPLE, "background": Urgency.BACKGROUND}


@pytest.fixture(params=KINDS)
def kind(request):
    """One kind of work after the other."""
    return request.param


def test_it_says_whose_it_is(kind):
    """The loop chooses by model and urgency alone."""
    work = getattr(Rig(), kind)()
    assert (work.model, work.urgency, work.is_wanted) == ("m", KINDS[kind], True)


def test_it_is_placed_and_takes_the_outputs(kind):
    """The picture stands in the slot, and nothing is held afterwards."""
    rig = Rig()
    work = getattr(rig, kind)()
    fit = work.place(rig.model, rig.slot)
    assert (rig.slot.frames == 7).all()
    rig.model.engine.submit(rig.slot)
    assert rig.model.engine.wait(rig.slot)
    work.finish(Inference(rig.model, rig.slot, fit, 0, 1_000_000))
    assert rig.ended in ([], ["finished"])
    assert rig.held() == 0


@pytest.mark.parametrize("is_placed", [False, True])
def test_it_may_fail_at_any_time(kind, is_placed):
    """While it waits for its turn, or in the engine: whoever waits is told, nothing is held."""
    rig = Rig()
    work = getattr(rig, kind)()
    if is_placed:
        work.place(rig.model, rig.slot)
    work.fail(ERROR)
    assert rig.ended in ([], [ERROR])
    assert rig.held() == 0
