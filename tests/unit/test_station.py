"""The station in one word, and the sentences behind it."""

import pytest

from appliance.pipeline.station import STUCK_S, at_work, judge
from appliance.readings import CameraReading, EngineReading
from appliance.values import CameraState, EngineState, Health


def camera(state=CameraState.LIVE, name="Door"):
    return CameraReading(name.lower(), name, "m", state, 0.0)


def engine(state=EngineState.RUNNING, sentence="", model="m", **more):
    return EngineReading(model, state, "auto", sentence=sentence, **more)


LIVE, RUNNING = [camera()], [engine()]


def test_all_well_is_ready_without_a_word():
    """Engines that run, a loop that ticks and live cameras need no explanation."""
    assert judge(LIVE, RUNNING, 0.1) == (Health.READY, ())


@pytest.mark.parametrize("state", [CameraState.OFFLINE, CameraState.STALLED])
def test_a_camera_that_is_away_degrades(state):
    """A dead camera is named, and the station stays what it can be: ready, degraded (O-22)."""
    health, reasons = judge([camera(), camera(state, "Yard")], RUNNING, 0.1)
    assert (health, reasons) == (Health.DEGRADED, (f"Yard is {state}",))


@pytest.mark.parametrize("state", [CameraState.CONNECTING, CameraState.LIVE, CameraState.ENDED])
def test_a_camera_on_its_way_or_at_its_end_is_no_fault(state):
    """Connecting, and a file that has been played, are as they should be."""
    assert judge([camera(state)], RUNNING, 0.1) == (Health.READY, ())


def test_no_camera_says_which_variable_to_set():
    """A station without cameras runs, and tells how to give it one."""
    health, reasons = judge([], RUNNING, 0.1)
    assert health is Health.DEGRADED
    assert "APPLIANCE_CAMERAS__<KEY>__URL" in reasons[0]


@pytest.mark.parametrize(
    ("coming", "reason"),
    [
        (engine(EngineState.WAITING), "m: waiting"),
        (engine(EngineState.BUILDING, "Loading the engine"), "Building m: Loading the engine"),
        (
            engine(EngineState.BUILDING, "Comparing", progress=0.436),
            "Building m, 43 %: Comparing",
        ),
        (
            engine(EngineState.BUILDING, "Comparing", progress=0.999, fallback="TensorRT failed"),
            "Building m, 99 %: Comparing (TensorRT failed)",
        ),
    ],
)
def test_an_engine_on_its_way_is_starting(coming, reason):
    """While nothing runs yet the station is starting, and says what is under way (O-22)."""
    assert judge(LIVE, [coming], 0.1) == (Health.STARTING, (reason,))


def test_a_fallback_degrades_with_its_reason():
    """What runs instead of what was asked for sees all the same: ready, and not as it should be."""
    health, reasons = judge(LIVE, [engine(fallback="no GPU answers")], 0.1)
    assert (health, reasons) == (Health.DEGRADED, ("m: no GPU answers",))


def test_a_better_engine_under_way_is_told_and_degrades_nothing():
    """Building beside an engine that runs is no fault, and stands after the faults."""
    built = engine(sentence="Comparing", progress=0.5)
    assert judge(LIVE, [built], 0.1) == (Health.READY, ("Building m, 50 %: Comparing",))
    spare = engine(sentence="Comparing", progress=0.5, fallback="it is being built")
    assert judge(LIVE, [spare], 0.1) == (
        Health.DEGRADED,
        ("m: it is being built", "Building m, 50 %: Comparing"),
    )


def test_a_failed_engine_fails_the_station():
    """One failed engine is told before others that are still coming."""
    engines = [
        engine(EngineState.BUILDING, "Loading", model="a"),
        engine(EngineState.FAILED, "no room"),
    ]
    assert judge(LIVE, engines, 0.1) == (Health.FAILED, ("m: no room", "Building a: Loading"))


def test_a_loop_that_hangs_fails_the_station():
    """A hanging loop is told whatever else is well, and only past its time."""
    assert judge(LIVE, RUNNING, STUCK_S)[0] is Health.READY
    health, reasons = judge(LIVE, RUNNING, STUCK_S + 2)
    assert health is Health.FAILED
    assert reasons == ("The inference loop has not moved for 12 s",)


def test_other_troubles_degrade():
    """A database that cannot be written stops nothing, and is told after the cameras."""
    told = judge([camera(CameraState.OFFLINE)], RUNNING, 0.1, ["The disk is full"])
    assert told == (Health.DEGRADED, ("Door is offline", "The disk is full"))
    assert judge(LIVE, RUNNING, 0.1, ["The disk is full"])[0] is Health.DEGRADED


def test_every_reason_is_told():
    """Nothing hides behind something worse."""
    cameras = [camera(CameraState.OFFLINE, "Door"), camera(CameraState.STALLED, "Yard")]
    _, reasons = judge(cameras, [engine(EngineState.FAILED, "no room")], STUCK_S + 1)
    assert len(reasons) == 4


def test_an_engine_whose_results_are_unknown_degrades():
    """It runs, so the station is ready; and nobody may take it for one that sees nothing."""
    doubt = "Some of its results are unknown: scores holds values that are no numbers"
    health, reasons = judge(LIVE, [engine(doubt=doubt)], 0.1)
    assert (health, reasons) == (Health.DEGRADED, (f"m: {doubt}",))


def test_an_engine_that_hangs_beside_others_is_told_by_its_model():
    """The loop goes on, so the station is degraded, and not simply ready."""
    well, hung = (at_work(engine(), silence_s=each) for each in (STUCK_S, STUCK_S + 2))
    assert judge(LIVE, [well], 0.1) == (Health.READY, ())
    told = ("m: The engine has not answered for 12 s",)
    assert judge(LIVE, [engine(model="a"), hung], 0.1) == (Health.DEGRADED, told)


def test_a_slow_engine_is_not_taken_for_one_that_hangs():
    """It may be at a picture for longer, by what its first run took."""
    slow = engine(model="slow")
    assert at_work(slow, silence_s=STUCK_S + 2, patience_s=60.0) == slow
    doubt = "The engine has not answered for 61 s"
    assert at_work(slow, silence_s=61.0, patience_s=60.0).doubt == doubt


def test_an_engine_that_failed_says_when_it_is_tried_again():
    """Beside what a person can do meanwhile."""
    failed = engine(EngineState.FAILED, "no room", next_step="Free some memory.")
    assert at_work(failed, pause_s=7.6).next_step == "Free some memory. It is tried again in 8 s."
    assert at_work(failed) == failed
