"""The gate lets an equal engine through, and no planted fault."""

import functools
import json
import re

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from appliance.catalog.card import read_card
from appliance.engines import cpu
from appliance.errors import EngineError
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.exhibits import LIMIT as MOST_EXHIBITS
from appliance.optimizer.fittings import letterbox_of
from appliance.optimizer.heads import centernet
from appliance.optimizer.measures.detection import MEASURE, MIN_REFERENCES
from appliance.optimizer.precision import rewrite
from appliance.optimizer.verdict import Verification
from appliance.optimizer.verification import Candidate, verify
from appliance.runtimes import BuildOptions, EngineOptions
from appliance.tasks.detection import TASK
from appliance.values import Precision
from tests.support.faults import Faulty, Misplacing, swapped_channels, wrong_class
from tests.support.heads import Remembering
from tests.support.models import paint, write_bright_spots

FRAME_COUNT = MIN_REFERENCES // 2 + 5  # with two squares each
LIMITS = {
    Precision.FP32: {"f1": 0.99, "box_px": 0.25, "score": 0.01},
    Precision.FP16: {"f1": 0.99, "box_px": 1.0, "score": 0.01},
    Precision.INT8: {"f1": 0.97, "box_px": 8.0, "score": 0.15},
}


@functools.cache
def street(count=FRAME_COUNT):
    """Frames with one red and one green square, each time elsewhere."""
    random = np.random.default_rng(0)
    frames = []
    for _ in range(count):
        x, y = random.integers(0, 30), random.integers(0, 15)
        squares = [("red", x, y, x + 30, y + 30), ("green", x + 75, y + 65, x + 110, y + 100)]
        frames.append(paint(squares, (160, 120)))
    return frames


class Gate:
    """Everything that a verification needs, with the tiny detector behind it.

    Args:
        model_dir: the foreign model with its card.
        folder: for what is made of it.
        precision: that it is written in.
    """

    def __init__(self, model_dir, folder, precision=Precision.FP32):
        self.card = read_card(model_dir / "model.toml")
        weights = model_dir / "model.onnx"
        canonical = canonicalize(weights, self.card, centernet.HEAD, folder / "canonical.onnx")
        written = rewrite(canonical.path, precision, folder / f"{precision}.onnx")
        built = cpu.ENGINE.build(written, folder, BuildOptions(), lambda _stage, _share: None)
        options = EngineOptions(precision=precision, threads=1)
        self.engine = cpu.ENGINE.load(built, canonical.contract, options)
        self.letterbox = letterbox_of(self.card)
        self.reference = Remembering(weights, self.card, centernet.HEAD, threads=1)

    def trial(self, frames, *, letterbox=None, progress=lambda _share: None, **faults):
        engine = Faulty(self.engine, **faults)
        candidate = Candidate(engine, letterbox or self.letterbox, TASK, MEASURE, self.card)
        limits = LIMITS[engine.report.precision]
        return verify(
            candidate, self.reference, frames, limits=limits, device="serial", progress=progress
        )

    def verify(self, frames, **faults):
        return self.trial(frames, **faults).verification


@pytest.fixture(scope="module")
def gate(bright_spots, tmp_path_factory):
    """A gate before an engine that is not faulty yet: faults lie around it, and it stays so."""
    made = Gate(bright_spots, tmp_path_factory.mktemp("gate"))
    yield made
    made.engine.close()


@pytest.mark.slow
def test_an_equal_engine_is_proven(gate):
    """With enough objects seen alike the verdict is proven, and its figures are in the sentence."""
    result = gate.verify(street())
    assert result.verdict == "proven"
    assert (result.precision, result.device) == (Precision.FP32, "serial")
    assert result.computes == {"fp32": 6}
    assert result.frames == FRAME_COUNT
    assert result.figures["references"].value >= MIN_REFERENCES
    assert result.figures["f1"].value >= 0.99
    assert result.figures["row_box_px"].value < 0.01
    assert result.figures["row_score"].value < 1e-4
    assert max(result.figures["shift_px"].value, result.figures["row_shift_px"].value) < 0.01
    assert result.reason == result.hint == ""
    assert f"over {result.figures['references'].value} objects" in result.sentence()


def test_few_objects_prove_nothing(gate):
    """An equal engine on too few objects is let through as unproven, and says what is needed."""
    result = gate.verify(street(10))
    assert (result.verdict, result.figures["references"].value) == ("unproven", 20)
    assert "20 objects to compare, 100 needed" in result.sentence()


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_without_frames_a_test_picture_is_compared(gate, precision):
    """Without frames the rows are compared all the same, and nothing is claimed to be proven."""
    told = {"precision": precision, "computes": {}}
    trial = gate.trial([], **told)
    assert (trial.verification.verdict, trial.verification.frames) == ("unproven", 0)
    assert trial.exhibits == ()
    for fault in (swapped_channels, upside_down):
        assert "candidates differ" in gate.verify([], before=fault, **told).reason


def test_on_a_test_picture_fp32_hides_nothing(gate):
    """A little less light changes few rows of it by little: in fp32 that is enough."""
    assert "candidates differ" in gate.verify([], before=darker).reason


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_a_frame_on_which_nothing_is_found_is_no_way_around(gate, precision):
    """Its better half is compared, or the test picture's: a fault shows before any detection."""
    told = {"precision": precision, "computes": {}}
    dim = np.random.default_rng(7).integers(0, 20, (64, 64, 3), np.uint8)
    result = gate.verify([dim], **told)
    assert (result.verdict, result.figures["references"].value, result.frames) == ("unproven", 0, 1)
    for fault in (swapped_channels, upside_down):
        assert "candidates differ" in gate.verify([dim], before=fault, **told).reason


@pytest.mark.parametrize(
    ("precision", "verdict"), [(Precision.FP32, "refused"), (Precision.FP16, "unproven")]
)
def test_rounding_may_turn_faint_rows_into_others(gate, precision, verdict):
    """Of a test picture's rows fp16 may lose some; in fp32 every one counts."""

    def some_lost(outputs):
        outputs["scores"][0, 2:50:10] = 0
        outputs["class_ids"][0, 2:50:10] = -1

    result = gate.verify([], precision=precision, computes={}, after=some_lost)
    assert result.verdict == verdict


def upside_down(frames):
    return frames[:, ::-1]


def darker(frames):
    return frames - frames // 8


def half_a_pixel(outputs):
    outputs["boxes"] += 0.5


def no_number(outputs):
    outputs["scores"][0, 3] = np.nan


def infinite(outputs):
    outputs["boxes"][0, -1, 2] = np.inf


def one_lost(outputs):
    outputs["scores"][0, 0] = 0
    outputs["class_ids"][0, 0] = -1


def overconfident(outputs):
    outputs["scores"][:] = np.minimum(1, outputs["scores"] * 1.02)


FAULTS = [
    ({"before": swapped_channels}, "candidates differ"),
    ({"before": upside_down}, "candidates differ"),
    ({"before": darker}, "candidates differ"),
    ({"after": half_a_pixel}, r"candidates differ .* by 0\.50 px"),
    ({"after": wrong_class}, "candidates differ"),
    ({"after": one_lost}, "candidates differ"),
    ({"after": overconfident}, "candidates differ"),
    ({"after": no_number}, "scores holds values that are no numbers"),
    ({"after": infinite}, "boxes holds values that are no numbers"),
]


@pytest.mark.parametrize(
    ("fault", "message"), FAULTS, ids=[f.__name__ for fault, _ in FAULTS for f in fault.values()]
)
def test_a_planted_fault_is_refused(gate, fault, message):
    """A fault inside the engine is refused, however few objects there are, with a next step."""
    result = gate.verify(street(3), **fault)
    assert result.verdict == "refused"
    assert re.search(message, result.reason)
    assert result.sentence() == f"refused: {result.reason}"
    assert result.hint


@pytest.mark.slow
@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("fault", [wrong_class, half_a_pixel, swapped_channels])
def test_no_precision_excuses_a_fault(gate, precision, fault):
    """What a narrow precision may scatter is no excuse for what lies beside in every frame."""
    kind = "before" if fault is swapped_channels else "after"
    result = gate.verify(street(), **{kind: fault}, precision=precision, computes={})
    assert result.verdict == "refused"


@pytest.mark.slow
@pytest.mark.parametrize("fault", [{"shift_px": 8}, {"offset": -8}])
def test_a_fault_around_the_engine_is_refused(gate, fault):
    """A wrong letterbox or a forgotten padding shows in the predictions: F1 falls."""
    result = gate.verify(street(), letterbox=Misplacing(gate.letterbox, **fault))
    assert result.verdict == "refused"
    assert re.match(r"F1 0\.\d+ against the original", result.reason)
    assert result.hint


@pytest.mark.slow
@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize(
    "fault", [{"shift_px": 0.5}, {"shift_px": -0.5}, {"offset": 0.5}, {"offset": -0.5}]
)
def test_half_a_pixel_around_the_engine_is_refused(gate, fault, precision):
    """The commonest mistake: every box still overlaps its original, and all lie to one side."""
    faulty = Misplacing(gate.letterbox, **fault)
    result = gate.verify(street(), letterbox=faulty, precision=precision, computes={})
    assert result.verdict == "refused"
    assert result.figures["f1"].value >= LIMITS[precision]["f1"]
    assert 0.25 < result.figures["shift_px"].value < 0.75
    assert "to one side of the original's over" in result.reason


def scattering(outputs):
    """What rounding does: edges and scores a little off, to all sides; a faint row flickers."""
    random = np.random.default_rng(int(outputs["scores"].sum() * 1e6))
    used = outputs["class_ids"] >= 0
    outputs["boxes"][used] += random.normal(0, 1, (*outputs["boxes"].shape,)).astype("f4")[used]
    noise = random.normal(0, 0.02, outputs["scores"].shape).astype("f4")
    outputs["scores"][used] = np.clip(outputs["scores"] + noise, 0.01, 1)[used]
    faint = (outputs["scores"] < 0.2) & used
    outputs["class_ids"][faint] = random.integers(0, 2, outputs["class_ids"].shape)[faint]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "verdict"),
    [(Precision.FP32, "refused"), (Precision.FP16, "refused"), (Precision.INT8, "proven")],
)
def test_honest_rounding_is_int8s_alone(gate, precision, verdict):
    """What int8 may scatter, with faint rows that come and go, is too much for wider numbers."""
    result = gate.verify(street(), precision=precision, computes={}, after=scattering)
    assert result.verdict == verdict


def overflowing(model_dir):
    """The tiny detector with values in its middle that fp32 holds and fp16 does not.

    They are joined and cut apart there, which the processor does in half precision; it would add
    and multiply in single precision, whatever the graph says.
    """
    write_bright_spots(model_dir)
    model = onnx.load(model_dir / "model.onnx")
    nodes = model.graph.node
    index = next(index for index, node in enumerate(nodes) if "smooth_x" in node.output)
    nodes[index].output[0] = "small"
    added = [
        helper.make_node("Mul", ["small", "thousand"], ["medium"]),
        helper.make_node("Mul", ["medium", "thousand"], ["large"]),
        helper.make_node("Concat", ["large", "large"], ["twice"], axis=0),
        helper.make_node("Split", ["twice"], ["once", "again"], axis=0),
        helper.make_node("Div", ["once", "thousand"], ["medium_again"]),
        helper.make_node("Div", ["medium_again", "thousand"], ["smooth_x"]),
    ]
    for place, node in enumerate(added, start=index + 1):
        nodes.insert(place, node)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1000), "thousand"))
    onnx.save(model, model_dir / "model.onnx")
    return model_dir


@pytest.mark.parametrize(
    ("precision", "verdict"), [(Precision.FP32, "unproven"), (Precision.FP16, "refused")]
)
def test_an_fp16_that_overflows_is_refused(tmp_path, precision, verdict):
    """Activations beyond 65504 become infinite in half precision; in fp32 the graph is fine."""
    gate = Gate(overflowing(tmp_path / "bright-spots"), tmp_path, precision)
    result = gate.verify(street(3), computes={})
    gate.engine.close()
    assert result.verdict == verdict


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8])
def test_an_engine_that_was_silently_left_as_it_was_is_refused(gate, precision):
    """The engine's own word counts: asked for a narrow precision, it computes in fp32."""
    result = gate.verify(street(3), precision=precision)
    assert result.verdict == "refused"
    assert result.reason == f"asked for {precision}, computes in fp32 (6 of 6 layers)"


@pytest.mark.parametrize(
    ("precision", "computes", "reason"),
    [
        ("int8", {"fp32": 3, "int8": 3}, ""),
        ("int8", {"fp32": 4, "int8": 3}, "asked for int8, computes in fp32 (4 of 7 layers)"),
        ("fp16", {"fp16": 3, "fp32": 9}, "asked for fp16, computes in fp32 (9 of 12 layers)"),
        ("fp32", {"fp16": 1, "fp32": 9}, "asked for fp32, computes in fp16 (1 of 10 layers)"),
        ("fp32", {"fp32": 9}, ""),
        ("fp16", {}, ""),
    ],
)
def test_the_precision_is_read_back(gate, precision, computes, reason):
    """Half of the layers are enough below fp32, all are needed in it; silence is no fault."""
    assert gate.verify(street(3), precision=precision, computes=computes).reason == reason


def test_an_int8_engine_is_not_compared_on_nothing(gate):
    """Faint rows say nothing of int8; without any other the verdict is no silent yes."""
    dark = np.zeros((120, 160, 3), np.uint8)
    for frames in ([], [dark]):
        result = gate.verify(frames, precision=Precision.INT8, computes={})
        assert result.verdict == "refused"
        assert result.reason == "no frame shows anything to compare it on"
        assert "verify folder" in result.hint


def test_one_lost_row_of_many_refuses_fp32_alone(gate):
    """In fp32 every row counts; a narrower precision may lose as many as F1 may miss."""

    def one_in_many(outputs):
        lost.append(True)
        if len(lost) == 1:
            one_lost(outputs)

    for precision, verdict in ((Precision.FP32, "refused"), (Precision.INT8, "unproven")):
        lost = []
        result = gate.verify(street(40), precision=precision, computes={}, after=one_in_many)
        assert result.verdict == verdict


def test_exhibits_show_what_both_sides_saw(gate):
    """A handful of pictures comes with the verdict, the worst disagreement first."""
    frames = street(20)

    def blind_in_the_tenth(outputs):
        looks.append(True)
        if len(looks) == 10:
            outputs["scores"][:] = 0
            outputs["class_ids"][:] = -1

    looks = []
    trial = gate.trial(frames, after=blind_in_the_tenth)
    assert trial.verification.verdict == "refused"
    assert 1 <= len(trial.exhibits) <= MOST_EXHIBITS
    assert [len(each.seen) for each in trial.exhibits][:2] == [0, 2]
    assert {len(each.expected) for each in trial.exhibits} == {2}
    np.testing.assert_array_equal(trial.exhibits[0].frame, frames[9])
    assert trial.limits == LIMITS[Precision.FP32]


def test_progress_is_told(gate):
    """After each frame the share that is done is told, up to all of it."""
    shares = []
    gate.verify(street(4), progress=shares.append)
    assert shares == [0.25, 0.5, 0.75, 1.0]


def test_an_engine_that_fails_is_no_verdict(gate):
    """What the engine itself raises goes through: it says nothing of what it would have seen."""

    def fail(_outputs):
        raise EngineError("broken")

    with pytest.raises(EngineError, match="broken"):
        gate.verify(street(1), after=fail)


def test_figures_come_back_from_a_sidecar(gate):
    """What a sidecar holds makes the same verification again, refused or not."""
    for faults in ({}, {"after": one_lost}, {"after": no_number}):
        result = gate.verify(street(3), **faults)
        text = json.dumps(result.as_dict(), allow_nan=False)
        assert Verification.of(json.loads(text)) == result


def test_a_sidecar_of_another_kind_is_no_verification():
    """A field too many, too few or of no known precision is told as what it is."""
    whole = Verification.without_device(Precision.FP16).as_dict()
    for broken in ({**whole, "more": 1}, {"precision": "fp16"}, {**whole, "precision": "fp8"}):
        with pytest.raises((TypeError, ValueError)):
            Verification.of(broken)
    with pytest.raises(KeyError):
        Verification.of({})


def test_what_could_not_be_compared_says_so():
    """An engine for another device is unverified; one that could not be built is refused."""
    away = Verification.without_device(Precision.FP16)
    assert (away.verdict, away.device) == ("unverified", "")
    assert away.sentence().startswith("unverified: no device here runs it")
    failed = Verification.impossible(Precision.INT8, EngineError("no parser", hint="Ask for fp16."))
    assert (failed.verdict, failed.reason, failed.hint) == ("refused", "no parser", "Ask for fp16.")
