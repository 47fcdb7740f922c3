"""The gate lets an equal engine through, and no planted fault."""

from dataclasses import replace

import numpy as np
import pytest

from appliance.catalog.card import read_card
from appliance.engines import EngineOptions, cpu
from appliance.errors import EngineError
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.fittings import letterbox_of
from appliance.optimizer.heads import centernet
from appliance.optimizer.reference import Reference
from appliance.optimizer.verification import MIN_REFERENCES, Candidate, Verification, verify
from appliance.tasks.detection import TASK
from tests.support.models import paint

FRAME_COUNT = MIN_REFERENCES // 2 + 5  # with two squares each


def street(count=FRAME_COUNT):
    """Frames with one red and one green square, each time elsewhere."""
    random = np.random.default_rng(0)
    frames = []
    for _ in range(count):
        x, y = random.integers(0, 30), random.integers(0, 15)
        squares = [("red", x, y, x + 30, y + 30), ("green", x + 75, y + 65, x + 110, y + 100)]
        frames.append(paint(squares, (160, 120)))
    return frames


class Faulty:
    """An engine with a fault planted around the real one.

    Args:
        inner: the real engine.
        before: changes the frames on their way in; the slot itself is left as it was.
        after: changes the outputs.
    """

    def __init__(self, inner, *, before=lambda frames: frames, after=lambda _outputs: None):
        self._inner, self._before, self._after = inner, before, after
        self.slots, self.report = inner.slots, inner.report

    def submit(self, slot):
        asked = slot.frames.copy()
        slot.frames[:] = self._before(asked)
        self._inner.submit(slot)
        self._inner.wait(slot)
        slot.frames[:] = asked

    def wait(self, slot, timeout_s=None):
        done = self._inner.wait(slot, timeout_s)
        self._after(slot.outputs)
        return done

    def close(self):
        self._inner.close()


class Gate:
    """Everything that a verification needs, with the tiny detector behind it."""

    def __init__(self, model_dir, folder):
        self.card = read_card(model_dir / "model.toml")
        weights = model_dir / "model.onnx"
        canonical = canonicalize(weights, self.card, centernet.HEAD, folder / "engine.onnx")
        options = EngineOptions(threads=1)
        self.engine = cpu.ENGINE.load(canonical.path, canonical.contract, options)
        self.letterbox = letterbox_of(self.card)
        self.reference = Reference(weights, self.card, centernet.HEAD, threads=1)

    def verify(self, frames, *, letterbox=None, progress=lambda _share: None, **faults):
        engine = Faulty(self.engine, **faults)
        candidate = Candidate(engine, letterbox or self.letterbox, TASK, self.card)
        return verify(candidate, self.reference, frames, progress)


@pytest.fixture
def gate(bright_spots, tmp_path):
    """A gate before an engine that is not faulty yet."""
    made = Gate(bright_spots, tmp_path)
    yield made
    made.engine.close()


@pytest.mark.slow
def test_an_equal_engine_is_proven(gate):
    """With enough objects seen alike the verdict is proven, and its figures are in the sentence."""
    result = gate.verify(street())
    assert result.verdict == "proven"
    assert result.frames == FRAME_COUNT
    assert result.references >= MIN_REFERENCES
    assert result.f1 >= 0.99
    assert result.row_box_px < 0.01
    assert result.row_score < 1e-4
    assert f"over {result.references} objects" in result.sentence()


def test_few_objects_prove_nothing(gate):
    """An equal engine on too few objects is let through as unproven, and says what is needed."""
    result = gate.verify(street(10))
    assert (result.verdict, result.references) == ("unproven", 20)
    assert "20 objects to compare, 100 needed" in result.sentence()


def test_without_frames_a_test_picture_is_compared(gate):
    """Without frames the rows are compared all the same, and nothing is claimed to be proven."""
    result = gate.verify([])
    assert (result.verdict, result.frames) == ("unproven", 0)
    for fault in (swapped_channels, upside_down, darker):
        with pytest.raises(EngineError, match="candidates differ"):
            gate.verify([], before=fault)


def test_a_frame_on_which_nothing_is_found_is_compared_too(gate):
    """The better half of the rows is compared: a fault shows before anything is ever detected."""
    dim = np.random.default_rng(7).integers(0, 20, (64, 64, 3), np.uint8)
    assert gate.verify([dim]).references == 0
    for fault in (swapped_channels, upside_down):
        with pytest.raises(EngineError, match="candidates differ"):
            gate.verify([dim], before=fault)


def swapped_channels(frames):
    return frames[..., ::-1]


def upside_down(frames):
    return frames[:, ::-1]


def darker(frames):
    return frames - frames // 8


def half_a_pixel(outputs):
    outputs["boxes"] += 0.5


def wrong_class(outputs):
    used = outputs["class_ids"] >= 0
    outputs["class_ids"][used] += 1


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
    with pytest.raises(EngineError, match=message) as caught:
        gate.verify(street(3), **fault)
    assert caught.value.hint


class Misplacing:
    """A letterbox with a fault: the engine is right, its surroundings are not."""

    def __init__(self, inner, *, shift_px=0, forget_padding=False):
        self._inner, self._shift_px, self._forget = inner, shift_px, forget_padding

    def place(self, frame, into):
        fit = self._inner.place(frame, into)
        into[:] = np.roll(into, self._shift_px, axis=1)
        return replace(fit, offset_xy=(0, 0)) if self._forget else fit


@pytest.mark.slow
@pytest.mark.parametrize("fault", [{"shift_px": 8}, {"forget_padding": True}])
def test_a_fault_around_the_engine_is_refused(gate, fault):
    """A wrong letterbox or a forgotten padding shows in the predictions: F1 falls."""
    faulty = Misplacing(gate.letterbox, **fault)
    with pytest.raises(EngineError, match=r"F1 0\.\d+ against the original") as caught:
        gate.verify(street(), letterbox=faulty)
    assert caught.value.hint


def test_progress_is_told(gate):
    """After each frame the share that is done is told, up to all of it."""
    shares = []
    gate.verify(street(4), progress=shares.append)
    assert shares == [0.25, 0.5, 0.75, 1.0]


def test_figures_come_back_from_a_sidecar(gate):
    """What a sidecar holds makes the same verification again."""
    result = gate.verify(street(3))
    assert Verification(**result.as_dict()) == result
