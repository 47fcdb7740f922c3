"""CenterNet: its graph says what its numpy twin says, and both say what was encoded by hand."""

from dataclasses import replace

import numpy as np
import pytest
from onnx import helper, numpy_helper

from appliance.catalog.card import Card, InputCard, Layout
from appliance.errors import ModelError
from appliance.tasks.detection import DetectionTable
from tests.support.heads import assert_same, graph_and_twin, rows_of
from tests.support.models import STRIDE, centernet_head_only

CLASSES, HEIGHT, WIDTH = 3, 8, 12
CARD = Card(
    name="made",
    title="Made",
    license="MIT",
    source="made by the tests",
    task="detection",
    head="centernet",
    input=InputCard(size_wh=(STRIDE * WIDTH, STRIDE * HEIGHT), name="images", layout=Layout.NHWC),
    table=DetectionTable(candidates=20),
)


def card_with(**changes):
    return replace(CARD, table=replace(CARD.table, **changes))


def logit(score):
    return np.log(score / (1 - score))


def model_with(logits, sides):
    """A CenterNet that puts out exactly this heatmap (C, h, w) and these sides (4, h, w)."""
    model = centernet_head_only(*logits.shape)
    for initializer in model.graph.initializer:
        content = {"logits": logits, "sides": sides}.get(initializer.name)
        if content is not None:
            array = content[None].astype(np.float32)
            initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))
    return model


def random_maps(seed):
    """Coarse values, so that ties and plateaus are everywhere."""
    random = np.random.default_rng(seed)
    levels = random.integers(2, 9)
    logits = random.integers(-levels, levels, (CLASSES, HEIGHT, WIDTH)) / 2
    sides = random.uniform(0, 20, (4, HEIGHT, WIDTH))
    return logits, sides


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_centernet_graph_equals_its_twin(tmp_path, seed, multi_label):
    """On made outputs full of ties and plateaus, graph and twin leave the same candidates."""
    card = card_with(multi_label=multi_label)
    assert_same(*graph_and_twin(tmp_path, model_with(*random_maps(seed)), card))


@pytest.mark.parametrize("multi_label", [False, True])
def test_centernet_with_more_rows_than_places(tmp_path, multi_label):
    """K is no more than there are places, or places and classes; unused rows are marked."""
    card = card_with(multi_label=multi_label, candidates=3840)
    graph, twin = graph_and_twin(tmp_path, model_with(*random_maps(1)), card)
    places = HEIGHT * WIDTH * (CLASSES if multi_label else 1)
    assert graph["scores"].shape == (1, places)
    assert (graph["class_ids"][0] == -1).any()
    assert_same(graph, twin)


@pytest.mark.parametrize("multi_label", [False, True])
def test_centernet_on_a_flat_map(tmp_path, multi_label):
    """On one single plateau every place is a peak, and K of them come out."""
    logits = np.full((CLASSES, HEIGHT, WIDTH), -1.0)
    card = card_with(multi_label=multi_label)
    graph, twin = graph_and_twin(tmp_path, model_with(logits, random_maps(0)[1]), card)
    assert_same(graph, twin)
    assert graph["scores"][0].min() == pytest.approx(1 / (1 + np.e), abs=1e-6)


@pytest.fixture
def two_objects():
    """Class 2 around (20, 12), at the place x=5 y=3; class 0 around (44, 0), at x=11 y=0."""
    logits = np.full((CLASSES, HEIGHT, WIDTH), -9.0)
    sides = np.zeros((4, HEIGHT, WIDTH))
    logits[2, 3, 5], sides[:, 3, 5] = logit(0.9), (6, 4, 10, 8)  # left, top, right, bottom
    logits[0, 0, 11], sides[:, 0, 11] = logit(0.6), (8, 0, 4, 12)
    # Less than the peak beside it: no object of its own.
    logits[2, 3, 6], sides[:, 3, 6] = logit(0.8), (1, 1, 1, 1)
    return logits, sides


@pytest.mark.parametrize("multi_label", [False, True])
def test_centernet_decodes_two_known_objects(tmp_path, two_objects, multi_label):
    """Two objects encoded by hand come out with box, class and score; a flank does not."""
    card = card_with(multi_label=multi_label)
    for outputs in graph_and_twin(tmp_path, model_with(*two_objects), card):
        assert rows_of(outputs, above=0.01) == [
            (0, 0.6, 36, 0, 48, 12),
            (2, 0.9, 14, 8, 30, 20),
        ]


def test_centernet_two_classes_at_one_place(tmp_path, two_objects):
    """Where two classes peak at one place, multi_label decides whether both come out."""
    logits, sides = two_objects
    logits[1, 3, 5] = logit(0.7)
    box = (14, 8, 30, 20)
    for multi_label, expected in (
        (False, [(2, 0.9, *box)]),
        (True, [(1, 0.7, *box), (2, 0.9, *box)]),
    ):
        card = card_with(multi_label=multi_label)
        for outputs in graph_and_twin(tmp_path, model_with(logits, sides), card):
            assert rows_of(outputs, above=0.65) == expected


def test_centernet_a_plateau_is_two_peaks(tmp_path, two_objects):
    """Two equal neighbors are both peaks: suppression settles it, not the order of memory."""
    logits, sides = two_objects
    logits[2, 3, 6] = logits[2, 3, 5]
    for outputs in graph_and_twin(tmp_path, model_with(logits, sides), CARD):
        assert len(rows_of(outputs, above=0.8)) == 2


def test_centernet_unused_rows(tmp_path):
    """Rows beyond the peaks have score 0 and class -1."""
    logits = np.full((1, HEIGHT, WIDTH), -2.0)
    logits[0] += np.arange(WIDTH) / 10  # a slope: its only peaks are in the last column
    graph, twin = graph_and_twin(tmp_path, model_with(logits, random_maps(0)[1]), CARD)
    assert (graph["class_ids"][0] >= 0).sum() == HEIGHT
    assert_same(graph, twin)


def without_sigmoid(model):
    next(node for node in model.graph.node if node.op_type == "Transpose").input[0] = "all_logits"


def without_transpose(model):
    model.graph.node[-1].CopyFrom(helper.make_node("Identity", ["all_sides"], ["wh"]))


def with_other_names(model):
    for node in model.graph.node:
        node.output[:] = ["boxes" if name == "wh" else name for name in node.output]
    model.graph.output[1].name = "boxes"


def with_too_few_sides(model):
    sides = next(each for each in model.graph.initializer if each.name == "sides")
    sides.CopyFrom(numpy_helper.from_array(np.zeros((1, 3, HEIGHT, WIDTH), np.float32), "sides"))
    model.graph.output[1].type.tensor_type.shape.dim[3].dim_value = 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_sigmoid, "keypoints does not end in Sigmoid, Transpose"),
        (without_transpose, "wh does not end in Transpose"),
        (with_other_names, "expected outputs keypoints and wh, got keypoints, boxes"),
        (with_too_few_sides, r"wh: expected \(1, 8, 12, 4\) .* got its planes as \(1, 3, 8, 12\)"),
    ],
)
def test_centernet_refuses_what_is_not_its_family(tmp_path, two_objects, change, message):
    """An export of another family is refused with what was found, and what to do (O-14)."""
    model = model_with(*two_objects)
    change(model)
    with pytest.raises(ModelError, match=message) as caught:
        graph_and_twin(tmp_path, model, CARD)
    assert "model.toml" in caught.value.hint
