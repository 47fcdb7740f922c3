"""Models as people bring them: the canonical engine sees what the original sees, and no fault."""

import functools
import sys
from dataclasses import replace

import numpy as np
import pytest

from appliance import tasks
from appliance.catalog.card import CARD_FILE, read_card
from appliance.engines.cpu import ENGINE
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.fittings import letterbox_of
from appliance.optimizer.frames import Frames
from appliance.optimizer.measures.agreement import row_differences
from appliance.optimizer.measures.detection import MEASURE, MIN_REFERENCES
from appliance.optimizer.precision import rewrite
from appliance.optimizer.verification import Candidate, verify
from appliance.runtimes import BuildOptions, EngineOptions
from appliance.settings.model import Verify
from appliance.values import Precision
from tests.support.faults import Faulty, Misplacing, swapped_channels, wrong_class
from tests.support.heads import HEADS, Remembering
from tests.support.models import FOREIGN_CARDS

CLIP = "pedestrians_20s.mp4"
STEPS = [4, pytest.param(1, marks=pytest.mark.long)]
"""Every fourth frame, or each."""

TASKS = tasks.known()
YOLOX, FASTESTDET = "yolox_nano_coco_416.onnx", "fastestdet_coco_352.onnx"


@pytest.fixture(scope="module")
def brought(tmp_path_factory, test_data):
    """A model of the data folder, built once in each precision: the engine, and the original."""
    engines = []

    @functools.cache
    def original(name, card):
        return Remembering(test_data(name), card, HEADS[card.head], threads=1)

    @functools.cache
    def build(name, precision=Precision.FP32, calibration=()):
        tmp_path = tmp_path_factory.mktemp("brought")
        weights = test_data(name)
        path = tmp_path / weights.stem.replace("_", "-") / CARD_FILE
        path.parent.mkdir()
        path.write_text(FOREIGN_CARDS[name], encoding="utf-8")
        card = read_card(path)
        head = HEADS[card.head]
        canonical = canonicalize(weights, card, head, tmp_path / "canonical.onnx")
        fitted = (fit(frame, card) for frame in calibration)
        written = rewrite(canonical.path, precision, tmp_path / "written.onnx", fitted)
        built = ENGINE.build(written, tmp_path, BuildOptions(), lambda _stage, _share: None)
        engine = ENGINE.load(
            built, canonical.contract, EngineOptions(precision=precision, threads=1)
        )
        engines.append(engine)
        candidate = Candidate(engine, letterbox_of(card), TASKS[card.task], MEASURE, card)
        return candidate, original(name, card)

    yield build
    for engine in engines:
        engine.close()


@pytest.fixture(scope="module")
def clip(test_data):
    """The street's frames, counted once."""
    return Frames.of(test_data(CLIP))


@pytest.fixture(scope="module")
def few(clip):
    """Every tenth of them, decoded once."""
    return list(replace(clip, step=10))


def fit(frame, card):
    """As it goes into a slot."""
    width, height = card.input.size_wh
    fitted = np.empty((height, width, 3), np.uint8)
    letterbox_of(card).place(frame, fitted)
    return fitted


def verdict_on(candidate, reference, frames):
    """The gate's, within the limits that the station has by default."""
    limits = MEASURE.limits_of(Verify().of(candidate.precision))
    trial = verify(
        candidate, reference, frames, limits=limits, device="here", progress=lambda _share: None
    )
    return trial.verification


def untold(candidate):
    """The same, silent on what it computes in: narrow numbers are seldom a processor's own."""
    return replace(candidate, engine=Faulty(candidate.engine, computes={}))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", [YOLOX, FASTESTDET])
def test_a_detector_sees_the_same(brought, clip, capsys, name, step):
    """On a street, the engine's detections are the original's: proven, F1 of 0.99 or more."""
    candidate, reference = brought(name)
    verification = verdict_on(candidate, reference, replace(clip, step=step))
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: {verification.sentence()}\n")
    assert verification.verdict == "proven"
    assert verification.figures["references"].value >= MIN_REFERENCES
    assert verification.figures["f1"].value >= 0.99


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("name", "precision", "verdict"),
    [
        (YOLOX, Precision.FP16, "proven"),
        (YOLOX, Precision.INT8, "proven"),
        (FASTESTDET, Precision.FP16, "proven"),
        (FASTESTDET, Precision.INT8, "refused"),
    ],
)
def test_narrow_numbers_are_judged_by_what_they_see(
    brought, clip, capsys, *, name, precision, verdict, step
):
    """What rounding scatters is let through, what it loses is not: one of two is good in int8."""
    calibration, frames = clip.parted()
    frames = replace(frames, step=2 * step)
    candidate, reference = brought(name, precision, calibration)
    found = verdict_on(untold(candidate), reference, frames)
    with capsys.disabled():
        figures = ", ".join(f"{each.title} {each.measured}" for each in found.figures.values())
        sys.stdout.write(f"\n{name} {precision}: {found.sentence()}; {figures}\n")
    assert found.verdict == verdict
    assert max(found.figures["shift_px"].value, found.figures["row_shift_px"].value) < 0.25


@pytest.mark.slow
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
@pytest.mark.parametrize("name", [YOLOX, FASTESTDET])
@pytest.mark.parametrize(
    "fault", [{"before": swapped_channels}, {"after": wrong_class}], ids=["channels", "class"]
)
def test_a_fault_within_is_refused_on_a_few_frames(brought, few, name, precision, fault):
    """A detector that finds things all the same, and not those of the original."""
    candidate, reference = brought(name)
    faulty = Faulty(candidate.engine, precision=precision, computes={}, **fault)
    found = verdict_on(replace(candidate, engine=faulty), reference, few[:3])
    assert found.verdict == "refused"
    assert "candidates differ" in found.reason


@pytest.mark.slow
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
@pytest.mark.parametrize("fault", [{"shift_px": 0.5}, {"shift_px": -0.5}, {"offset": 0.5}])
def test_half_a_pixel_around_the_engine_is_refused(brought, few, precision, fault):
    """F1 hardly feels it: YOLOX finds the same objects, half a pixel beside."""
    candidate, reference = brought(YOLOX)
    faulty = replace(
        candidate,
        engine=Faulty(candidate.engine, precision=precision, computes={}),
        letterbox=Misplacing(candidate.letterbox, **fault),
    )
    found = verdict_on(faulty, reference, few)
    assert found.verdict == "refused"
    assert 0.25 < found.figures["shift_px"].value < 0.75


@pytest.mark.slow
def test_a_cut_yolo11_leaves_the_same_rows(brought, few):
    """Weights that mean nothing still give the same candidates, cut or whole.

    Their scores lie far below any that a person would set, so rows are compared from the
    median on.
    """
    candidate, reference = brought("yolo11n_640_random_weights.onnx")
    for frame in few[:5]:
        slot, _ = candidate.look(frame)
        twin = reference.run(slot.frames[0].astype(np.float32))
        assert twin["boxes"].shape == slot.outputs["boxes"].shape == (1, 300, 4)
        floor = float(np.median(twin["scores"]))
        assert floor > 0
        found = row_differences(twin, slot.outputs, floor=floor, limits=(0.25, 1e-5))
        assert len(found.box_px) > 100
        assert found.box_px.max() < 0.25
        assert found.score.max() < 1e-5
