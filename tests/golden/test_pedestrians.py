"""The whole product path on a real video, against the original model run by hand."""

import sys
import time

import cv2
import numpy as np
import pytest

from appliance import tasks
from appliance.capture.camera import Camera
from appliance.capture.contract import CameraSpec
from appliance.capture.sources import file
from appliance.capture.timing import Timing
from appliance.catalog.card import read_card
from appliance.catalog.library import builtin_models_dir
from appliance.engines.cpu import ENGINE
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.fittings import letterbox_of
from appliance.optimizer.heads import centernet as head
from appliance.optimizer.measures.agreement import MARGIN, Agreement
from appliance.optimizer.measures.detection import MEASURE
from appliance.optimizer.reference import Reference
from appliance.pipeline.criteria import Criteria
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.lanes import Lane
from appliance.pipeline.loop import Loop
from appliance.pipeline.served import ServedModel
from appliance.runtimes import EngineOptions
from tests.support.fakes import wait_until

CLIP, FRAMES = "pedestrians_20s.mp4", 200
CONFIDENCE = 0.3


def product(card, weights, folder, clip):
    """Every frame of `clip` through source, slots, letterbox, engine and task: the detections."""
    canonical = canonicalize(weights, card, head.HEAD, folder / "engine.onnx")
    engine = ENGINE.load(canonical.path, canonical.contract, EngineOptions())
    spec = CameraSpec(key="clip", name="Clip", url=str(clip), paced=False)
    results, failures = [], []

    def wake():
        loop.wake()

    camera = Camera(
        spec, file.SOURCE, timing=Timing(wall_s=time.time), slots_count=6, on_publish=wake
    )
    loop = Loop(
        [Lane("clip", camera, card.name, Criteria(CONFIDENCE - MARGIN))],
        on_result=lambda result, _lease: results.append(result),
        on_failure=lambda _model, error: failures.append(error),
        heartbeat=Heartbeat(time.monotonic_ns),
        clock_ns=time.monotonic_ns,
    )
    loop.install(
        ServedModel(
            card.name,
            engine,
            tasks.known()[card.task],
            card.table,
            letterbox_of(card),
        )
    )
    loop.start()
    camera.start()
    wait_until(lambda: len(results) == FRAMES or failures, timeout_s=100)
    for part in (camera, loop):
        part.stop()
        assert part.join(10)
    assert failures == []
    return results


def by_hand(card, weights, clip, step):
    """The original model on every so many frames, with float pre-processing and the numpy twin."""
    reference = Reference(weights, card, head.HEAD)
    capture = cv2.VideoCapture(str(clip))
    for index in range(FRAMES):
        assert capture.grab()
        if index % step == 0:
            _, frame = capture.retrieve()
            yield MEASURE.predict(*reference.look(frame), card, CONFIDENCE - MARGIN)
    capture.release()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.long)])
def test_the_product_sees_what_the_original_sees(centernet, test_data, tmp_path, capsys, step):
    """On a street the product's detections are the original's: F1 of 0.99 or more.

    The product looks at all frames, the original at every fourth or at each. Boxes scored within
    0.02 of the threshold count for neither side.
    """
    clip = test_data(CLIP)
    card = read_card(builtin_models_dir() / "centernet-mobilenetv3" / "model.toml")
    results = product(card, centernet, tmp_path, clip)
    assert [result.stamp.sequence for result in results] == list(range(1, FRAMES + 1))
    agreement = Agreement()
    expected = list(by_hand(card, centernet, clip, step))
    for reference, result in zip(expected, results[::step], strict=True):
        agreement.add(reference, result.prediction, CONFIDENCE)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{CLIP}: F1 {agreement.f1:.4f} over {agreement.references} boxes of the original"
            f" ({agreement.missed} missed, {agreement.invented} invented), box difference"
            f" {np.median(agreement.box_px):.2f} px median,"
            f" {np.max(agreement.box_px):.2f} px most\n"
        )
    assert agreement.references >= 1000 / step
    assert agreement.f1 >= 0.99
    assert np.median(agreement.box_px) < 1
