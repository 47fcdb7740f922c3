"""What the live view's WebSocket says, as the player reads it."""

import json
import math
import struct
from dataclasses import replace

import numpy as np
import pytest

from appliance.pipeline.encoder import LivePicture
from appliance.predictions import Instances, Result
from appliance.readings import OverrideReading
from appliance.values import EngineState, FrameStamp, Health
from appliance.web.live.messages import picture_message, station_message
from tests.support.web import CAMERA, ENGINE, ENGLISH_TEXTS, READING


def split(message):
    (length,) = struct.unpack(">I", message[:4])
    return json.loads(message[4 : 4 + length]), message[4 + length :]


LABELS = ("red", "green")


def told(reading, **station):
    """The message after its way through JSON, which must not hold what browsers cannot read."""
    return json.loads(
        json.dumps(station_message(reading, station, 0.3, ENGLISH_TEXTS), allow_nan=False)
    )


def test_a_picture_carries_its_own_boxes():
    """Header and JPEG of one frame travel in one message, boxes in the frame's pixels."""
    detections = Instances(
        np.array([[1.26, 2.0, 30.04, 40.0], [5, 5, 6, 6]], np.float32),
        np.array([0.98765, 0.5], np.float32),
        np.array([1, 7], np.int32),
    )
    stamp = FrameStamp(812, 5_000_000_000, 1732500000.4824)
    result = Result("gate", stamp, (320, 240), "detection", detections, 9.0, 5_020_000_000, LABELS)
    header, jpeg = split(picture_message(LivePicture(result, b"JPEG"), now_ns=5_043_000_000))
    assert header == {
        "camera": "gate",
        "sequence": 812,
        "captured_at_s": 1732500000.482,
        "age_ms": 43.0,
        "size_wh": [320, 240],
        "task": "detection",
        "form": 1,
        "prediction": {
            "boxes": [[1.3, 2.0, 30.0, 40.0], [5.0, 5.0, 6.0, 6.0]],
            "scores": [0.988, 0.5],
            "class_ids": [1, 7],
            "labels": ["green", "class_7"],
        },
        "unknown": False,
    }
    assert jpeg == b"JPEG"


def test_a_picture_of_which_nothing_is_known_says_so():
    """No box because there is nothing, and no box because nobody knows, are told apart."""
    stamp, none = FrameStamp(1, 0, 0.0), Instances.empty()
    result = Result(
        "gate", stamp, (1, 1), "detection", none, 0.0, 0, unknown="scores holds no numbers"
    )
    header, _ = split(picture_message(LivePicture(result, b""), now_ns=0))
    assert (header["unknown"], header["prediction"]["boxes"]) == (True, [])


def test_the_length_counts_bytes():
    """Letters of more than one byte in a header do not shift the JPEG."""
    result = Result("tür", FrameStamp(1, 0, 0.0), (1, 1), "detection", Instances.empty(), 0.0, 0)
    header, jpeg = split(picture_message(LivePicture(result, b"\xff\xd8"), now_ns=0))
    assert (header["camera"], header["prediction"]["boxes"], jpeg) == ("tür", [], b"\xff\xd8")


def test_numbers_are_short():
    """Coordinates have one decimal and scores three: many boxes stay a small message."""
    count = 100
    boxes = np.full((count, 4), math.pi * 100, np.float32)
    detections = Instances(boxes, np.full(count, 1 / 3, np.float32), np.zeros(count, np.int32))
    result = Result("gate", FrameStamp(1, 0, 0.0), (1280, 720), "detection", detections, 0.0, 0)
    assert len(picture_message(LivePicture(result, b""), now_ns=0)) < count * 60


def test_a_reading_names_everything_the_page_shows():
    """Station, health, engine, disk, floor and cameras, in the protocol's words."""
    camera = replace(CAMERA, next_step="Wait.", dropped=14, fps=24.912, fps_history=(25.0, None))
    reading = replace(READING, cameras=(camera,), disk_used=0.412)
    message = told(reading, name="Hall 3", user="ada")
    assert message["type"] == "station"
    assert message["station"] == {"name": "Hall 3", "user": "ada"}
    assert message["health"] == {"state": "ready", "reasons": []}
    assert message["disk"] == {"used_percent": 41}
    assert message["confidence"] == 0.3
    (camera_told,) = message["cameras"]
    assert camera_told["next"] == "Wait."
    assert camera_told["dropped_total"] == 14
    assert camera_told["fps"] == 24.9
    assert camera_told["fps_history"] == [25.0, None]
    assert camera_told["state"] == "live"


def test_an_override_is_told_and_is_the_floor():
    """Whoever watches sees who changed what and when, and the new floor; else there is none."""
    assert told(READING)["override"] is None
    lines = ("APPLIANCE_DETECTION__CONFIDENCE=0.45",)
    override = OverrideReading(0.45, "person", "otto", 1000.1239, lines)
    message = told(replace(READING, override=override))
    assert message["confidence"] == 0.45
    assert message["override"] == {
        "confidence": 0.45,
        "classes": "person",
        "user": "otto",
        "since_s": 1000.124,
        "lines": list(lines),
    }


def test_what_is_not_known_is_null():
    """A camera that sends nothing yet has no numbers, and none are made up."""
    message = told(replace(READING, disk_used=None))
    assert message["disk"] == {"used_percent": None}
    names = ("fps", "source_fps", "inference_ms", "age_ms", "retry_in_s", "size_wh")
    assert {name: message["cameras"][0][name] for name in names} == dict.fromkeys(names)


@pytest.mark.parametrize(
    ("state", "sentence", "said"),
    [
        (EngineState.WAITING, "", "building"),
        (EngineState.BUILDING, "Comparing", "building"),
        (EngineState.RUNNING, "", "running"),
        (EngineState.RUNNING, "Comparing", "running"),
        (EngineState.FAILED, "broken", "failed"),
    ],
)
def test_the_engine_is_in_one_of_four_states(state, sentence, said):
    """Waiting is told as building, for nothing runs yet either."""
    engine = replace(ENGINE, state=state, sentence=sentence)
    message = told(replace(READING, engines=(engine,)))
    assert message["engine"]["state"] == said
    assert message["engine"]["sentence"] == sentence


def test_a_fallback_says_why_and_what_is_under_way():
    """The page's note is one sentence after the other; its bar is for what does not run yet."""
    engine = replace(ENGINE, fallback="no GPU here")
    assert told(replace(READING, engines=(engine,)))["engine"]["sentence"] == "no GPU here"
    engine = replace(engine, sentence="Comparing", progress=0.5)
    message = told(replace(READING, engines=(engine,)))["engine"]
    assert message["state"] == "fallback"
    assert message["sentence"] == "no GPU here. Building bright-spots, 50 %: Comparing"
    assert message["progress"] is None


def test_of_several_engines_the_one_to_look_at_is_told():
    """A model that failed does not hide behind one that runs, nor does a fallback."""
    failed = replace(ENGINE, model="other", state=EngineState.FAILED, sentence="broken")
    for engines in ((ENGINE, failed), (failed, ENGINE)):
        assert told(replace(READING, engines=engines))["engine"]["model"] == "other"
    fallback = replace(ENGINE, model="other", fallback="no GPU here")
    for engines in ((ENGINE, fallback), (fallback, ENGINE)):
        assert told(replace(READING, engines=engines))["engine"]["model"] == "other"


def test_a_degraded_station_says_why():
    """The reasons reach the page as they are."""
    reading = replace(READING, health=Health.DEGRADED, reasons=("Dock is offline",))
    assert told(reading)["health"] == {"state": "degraded", "reasons": ["Dock is offline"]}
