"""When an engine gives a picture the original's class, and when it does not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from appliance.catalog.card import Card, InputCard, read_card
from appliance.engines import cpu
from appliance.geometry import Fit, FitMode
from appliance.letterbox import Letterbox
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.exhibits import Exhibit
from appliance.optimizer.fittings import letterbox_of
from appliance.optimizer.heads import classifier
from appliance.optimizer.measures import Terms
from appliance.optimizer.measures.classification import MEASURE, MIN_PICTURES, TIE
from appliance.optimizer.reference import Reference
from appliance.optimizer.verification import Candidate, verify
from appliance.predictions import Classification
from appliance.runtimes import EngineOptions
from appliance.tasks.classification import TASK, ClassificationTable
from appliance.values import Precision
from tests.support.bright_colors import LABELS, write_bright_colors
from tests.support.faults import Faulty, swapped_channels

LIMITS = {
    Precision.FP32: {"top1": 0.99, "score": 0.01},
    Precision.FP16: {"top1": 0.99, "score": 0.01},
    Precision.INT8: {"top1": 0.95, "score": 0.15},
}
CARD = Card(
    name="made",
    title="Made",
    license="MIT",
    source="made by the tests",
    task="classification",
    head="classifier",
    input=InputCard(size_wh=(32, 32)),
    table=ClassificationTable(labels=LABELS),
)


def pictures(count):
    """Noise of one color within, of the next one around."""
    random = np.random.default_rng(0)
    made = []
    for index in range(count):
        picture = random.integers(60, 100, (80, 120, 3), np.uint8)
        picture[..., 2 - (index + 1) % 3] += 90
        middle = picture[20:60, 40:80]
        middle[:] = random.integers(60, 100, middle.shape, np.uint8)
        middle[..., 2 - index % 3] += 60 + 30 * (index % 2)
        made.append(picture)
    return made


class Gate:
    """Everything that a verification needs, with a tiny classifier behind it.

    Args:
        folder: for what is made.
        head: what makes the engine's outputs; the original's is the true one.
    """

    def __init__(self, folder, head=classifier.HEAD):
        write_bright_colors(folder / "colors")
        weights = folder / "colors" / "model.onnx"
        self.card = read_card(weights.with_name("model.toml"))
        made = canonicalize(weights, self.card, head, folder / "canonical.onnx")
        self.engine = cpu.ENGINE.load(made.path, made.contract, EngineOptions(threads=1))
        self.reference = Reference(weights, self.card, classifier.HEAD, threads=1)

    def trial(self, frames, *, letterbox=None, **faults):
        engine = Faulty(self.engine, **faults)
        around = letterbox or letterbox_of(self.card)
        candidate = Candidate(engine, around, TASK, MEASURE, self.card)
        limits = LIMITS[engine.report.precision]
        return verify(
            candidate,
            self.reference,
            frames,
            limits=limits,
            device="serial",
            progress=lambda _share: None,
        )

    def verify(self, frames, **faults):
        return self.trial(frames, **faults).verification


@pytest.fixture
def gate(tmp_path):
    """A gate before an engine that is not faulty yet."""
    made = Gate(tmp_path)
    yield made
    made.engine.close()


def test_an_equal_classifier_is_proven(gate):
    """With enough pictures of one class each the verdict is proven, and says of how many."""
    found = gate.verify(pictures(MIN_PICTURES))
    assert found.verdict == "proven"
    assert found.sentence() == "proven: the original's class on 30 of 30 pictures"
    assert found.figures["probability"].value < 1e-4
    assert found.figures["probability_p99"].value < 1e-4
    assert found.figures["top1"].value == 1
    assert found.figures["drift"].value < 0.01


def test_few_pictures_prove_nothing(gate):
    """An equal classifier on too few pictures is let through as unproven, with what is needed."""
    found = gate.verify(pictures(MIN_PICTURES - 1))
    assert found.verdict == "unproven"
    assert "29 pictures of a sure class to compare, 30 needed" in found.sentence()


def test_a_picture_of_no_class_proves_nothing(gate):
    """Pictures that could be anything are not counted, however many there are."""
    balanced = np.full((80, 120, 3), 80, np.uint8)  # as red as it is green
    found = gate.verify([balanced] * MIN_PICTURES)
    assert (found.verdict, found.figures["pictures"].value) == ("unproven", 0)


def twice(outputs):
    """A softmax over what is probabilities already."""
    raised = np.exp(outputs["scores"])
    outputs["scores"][:] = raised / raised.sum()


def next_class(outputs):
    outputs["class_ids"][:] = (outputs["class_ids"] + 1) % len(LABELS)


def no_number(outputs):
    outputs["scores"][0, 0] = np.nan


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"after": twice}, "probabilities differ"),
        ({"after": next_class}, "probabilities differ"),
        ({"before": swapped_channels}, "probabilities differ"),
        ({"after": no_number}, "scores holds values that are no numbers"),
    ],
    ids=["second softmax", "class ids", "channels", "no number"],
)
def test_a_fault_within_is_refused_on_a_few_pictures(gate, fault, message, precision):
    """However few pictures there are, in whatever precision, and with a next step."""
    found = gate.verify(pictures(3), precision=precision, computes={}, **fault)
    assert found.verdict == "refused"
    assert message in found.reason
    assert found.hint


def test_without_pictures_a_second_softmax_and_swapped_channels_are_refused(gate):
    """On the test picture, too; what is equal is let through, and proves nothing."""
    assert gate.verify([]).verdict == "unproven"
    for fault in ({"after": twice}, {"before": swapped_channels}):
        assert "probabilities differ" in gate.verify([], **fault).reason


def test_a_second_softmax_in_the_graph_is_refused(tmp_path):
    """A head that does not see what the export has done already is not the original's."""

    def build(model, card):
        made = dict(classifier.HEAD.build(model, card))
        raised = onnx_softmax(model, made["scores"])
        return {**made, "scores": raised}

    gate = Gate(tmp_path, replace(classifier.HEAD, build=build))
    found = gate.verify(pictures(3))
    gate.engine.close()
    assert "probabilities differ" in found.reason


def onnx_softmax(model, value):
    from appliance.optimizer.graph import Builder

    return Builder(model.graph, "again").op("Softmax", value, axis=1)


@pytest.mark.parametrize("precision", Precision)
def test_a_wrong_crop_is_refused(gate, precision):
    """The whole picture in the place of its middle: another color comes first."""
    whole = Letterbox(input_wh=(32, 32), mode=FitMode.STRETCH, pad_value=0, interpolation="linear")
    found = gate.verify(pictures(MIN_PICTURES), letterbox=whole, precision=precision, computes={})
    assert found.verdict == "refused"
    assert "the original's class on" in found.reason
    assert found.hint


def test_a_crop_that_is_a_little_wrong_is_refused(gate):
    """It changes no class, and the probabilities of all pictures."""
    wider = Letterbox(
        input_wh=(32, 32), mode=FitMode.CROP, pad_value=0, interpolation="linear", crop=0.6
    )
    found = gate.verify(pictures(MIN_PICTURES), letterbox=wider)
    assert found.figures["top1"].value == 1
    assert found.verdict == "refused"
    assert "on average over 30 pictures" in found.reason


def classes(*shares, first=0):
    """A distribution's best classes, with ids from `first` on."""
    ids = np.arange(first, first + len(shares), dtype=np.int32)
    order = np.argsort(-np.array(shares), kind="stable")
    return Classification(np.array(shares, np.float32)[order], ids[order])


FIT = Fit.of(FitMode.STRETCH, (8, 8), (8, 8))


def disagreements(expected, seen, *, is_multi=False):
    """What one picture of these shows."""
    table = ClassificationTable(labels=LABELS, multi_label=is_multi)
    terms = Terms(replace(CARD, table=table), Precision.FP32, LIMITS[Precision.FP32])
    return MEASURE.begin(terms).add_predictions(expected, seen, FIT)


@pytest.mark.parametrize(
    ("expected", "seen", "wrong"),
    [
        ((0.9, 0.1), (0.6, 0.4), 0),
        ((0.9, 0.1), (0.1, 0.9), 1),
        ((0.505, 0.495), (0.495, 0.505), 0),
        ((0.505, 0.495), (0.2, 0.8), 0),
        ((0.2, 0.8), (0.505, 0.495), 0),
        ((0.505, 0.475, 0.02), (0.4, 0.4, 0.2), 0),
        ((0.4, 0.4, 0.2), (0.1, 0.1, 0.8), 1),
    ],
)
def test_ties_within_a_hair_are_no_disagreement(expected, seen, wrong):
    """Another class first counts only where it leads by more, and was not as good as first."""
    assert disagreements(classes(*expected), classes(*seen)) == wrong


def test_the_best_alone_is_enough_to_compare():
    """With one row the other classes share what is left of one."""
    assert disagreements(classes(0.9), classes(0.9, first=1)) == 1
    assert disagreements(classes(0.5), classes(0.5, first=1)) == 0


@pytest.mark.parametrize(
    ("expected", "seen", "wrong"),
    [
        ((0.9, 0.8, 0.1), (0.8, 0.9, 0.1), 0),
        ((0.9, 0.8, 0.1), (0.9, 0.2, 0.1), 1),
        ((0.9, 0.1, 0.1), (0.9, 0.7, 0.1), 1),
        ((0.9, 0.51, 0.1), (0.9, 0.4, 0.1), 0),
    ],
)
def test_of_several_labels_each_counts(expected, seen, wrong):
    """Which label leads says nothing where a picture may have several."""
    assert disagreements(classes(*expected), classes(*seen), is_multi=True) == wrong


def rows(*shares, first=0):
    found = classes(*shares, first=first)
    return {"scores": found.scores[None], "class_ids": found.class_ids[None]}


def most_apart(expected, seen, precision=Precision.FP32):
    compared = MEASURE.begin(Terms(CARD, precision, LIMITS[precision]))
    compared.add_outputs(expected, seen, of_noise=False)
    return compared.finding().figures["probability"].value


def test_a_class_that_fell_out_of_the_best_differs_by_as_much_as_is_sure():
    """The last of the best trade places with those left out; one from the top does not."""
    assert most_apart(rows(0.5, 0.2, 0.1), rows(0.5, 0.2, 0.1)) == 0
    swapped = rows(0.5, 0.2, 0.1)
    swapped["class_ids"][0, 2] = 7
    assert most_apart(rows(0.5, 0.2, 0.1), swapped) == 0
    swapped["class_ids"][0, 0] = 8
    assert most_apart(rows(0.5, 0.2, 0.1), swapped) == pytest.approx(0.4)


def test_of_noise_little_is_much():
    """A thousand classes have a thousandth each: in fp32 a part of that is enough to refuse."""
    flat, other = rows(0.004, 0.003, 0.002), rows(0.003, 0.004, 0.002)
    for precision, of_noise, is_refused in (
        (Precision.FP32, True, True),
        (Precision.FP32, False, False),
        (Precision.FP16, True, False),
    ):
        compared = MEASURE.begin(Terms(CARD, precision, LIMITS[precision]))
        compared.add_outputs(flat, other, of_noise=of_noise)
        assert bool(compared.finding().reason) == is_refused


def test_narrow_numbers_may_lose_as_many_as_pictures_may_change():
    """One class of a hundred far off is int8's, and no wider precision's."""
    for precision, is_refused in ((Precision.FP32, True), (Precision.INT8, False)):
        compared = MEASURE.begin(Terms(CARD, precision, LIMITS[precision]))
        for index in range(50):
            seen = rows(0.6, 0.4) if index else rows(0.4, 0.6)
            compared.add_outputs(rows(0.6, 0.4), seen, of_noise=False)
        assert bool(compared.finding().reason) == is_refused


def test_the_report_shows_both_sides_classes():
    """The caption has the best class with its probability, and the frame is left as it was."""
    frame = np.zeros((240, 320, 3), np.uint8)
    exhibit = Exhibit(frame, classes(0.9, 0.1), classes(0.2, 0.8))
    original, engine = MEASURE.views(exhibit, LABELS)
    assert (original.caption, engine.caption) == ("red 0.90", "green 0.80")
    assert original.picture.any()
    assert not frame.any()
    assert MEASURE.views(Exhibit(frame, classes(), classes()), LABELS)[0].caption == "no class"


def test_the_tie_is_said_in_the_report():
    """What is forgiven is no secret."""
    assert str(TIE) in MEASURE.about
    assert str(TIE) in MEASURE.legend


def test_the_documentation_has_the_same_figures():
    """How many pictures are needed, and what a hair is."""
    text = (Path(__file__).parents[2] / "docs" / "engines.md").read_text(encoding="utf-8")
    said = " ".join(text.split())
    assert f"{MIN_PICTURES} pictures of whose class the original is sure" in said
    assert f"leads by less than {TIE} leads by a hair" in said
