"""Models as people bring them: the canonical engine sees what the original sees."""

import sys

import numpy as np
import pytest

from appliance import tasks
from appliance.catalog.card import CARD_FILE, read_card
from appliance.engines import EngineOptions
from appliance.engines.cpu import ENGINE
from appliance.optimizer.agreement import row_differences
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.fittings import letterbox_of
from appliance.optimizer.frames import read_frames
from appliance.optimizer.reference import Reference
from appliance.optimizer.verification import MIN_REFERENCES, Candidate, verify
from appliance.registry import plugins
from appliance.tasks import Task
from tests.support.heads import HEADS
from tests.support.models import FOREIGN_CARDS

CLIP = "pedestrians_20s.mp4"
TASKS = plugins(tasks, "TASK", Task)


@pytest.fixture
def brought(tmp_path, test_data):
    """Builds a model of the data folder: the engine as it runs, and the original beside it."""
    engines = []

    def build(name):
        weights = test_data(name)
        path = tmp_path / weights.stem.replace("_", "-") / CARD_FILE
        path.parent.mkdir()
        path.write_text(FOREIGN_CARDS[name], encoding="utf-8")
        card = read_card(path)
        head = HEADS[card.head]
        canonical = canonicalize(weights, card, head, tmp_path / "canonical.onnx")
        engine = ENGINE.load(canonical.path, canonical.contract, EngineOptions())
        engines.append(engine)
        candidate = Candidate(engine, letterbox_of(card), TASKS[card.task], card)
        return candidate, Reference(weights, card, head)

    yield build
    for engine in engines:
        engine.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["yolox_nano_coco_416.onnx", "fastestdet_coco_352.onnx"])
def test_a_detector_sees_the_same(brought, test_data, capsys, name):
    """On a street, the engine's detections are the original's: proven, F1 of 0.99 or more."""
    candidate, reference = brought(name)
    frames = read_frames(test_data(CLIP))
    verification = verify(candidate, reference, frames, lambda _share: None)
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: {verification.sentence()}\n")
    assert verification.verdict == "proven"
    assert verification.references >= MIN_REFERENCES
    assert verification.f1 >= 0.99


@pytest.mark.slow
def test_a_cut_yolo11_leaves_the_same_rows(brought, test_data):
    """Weights that mean nothing still give the same candidates, cut or whole.

    Their scores lie far below any that a person would set, so rows are compared from the
    median on.
    """
    candidate, reference = brought("yolo11n_640_random_weights.onnx")
    for frame in read_frames(test_data(CLIP))[:5]:
        slot, _ = candidate.look(frame)
        twin = reference.run(slot.frames[0].astype(np.float32))
        assert twin["boxes"].shape == slot.outputs["boxes"].shape == (1, 300, 4)
        floor = float(np.median(twin["scores"]))
        assert floor > 0
        box_px, score = row_differences(twin, slot.outputs, floor=floor)
        assert box_px < 0.25
        assert score < 1e-5
