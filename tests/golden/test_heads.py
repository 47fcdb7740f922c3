"""Each head: its graph says what its numpy twin says, and both say what was encoded by hand.

CenterNet, which looks for peaks, has a file of its own.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from appliance.catalog.card import Card, InputCard, read_card
from appliance.errors import ModelError
from appliance.optimizer.canonical import canonicalize
from appliance.tasks import known
from appliance.tasks.detection import DetectionTable
from tests.support import models
from tests.support.heads import HEADS, assert_same, graph_and_twin, rows_of
from tests.support.models import constant_outputs, with_conv

SIDE = 64
STRIDES = (8, 16, 32)
PLACES = sum((SIDE // stride) ** 2 for stride in STRIDES)  # 84
GRID = 4  # FastestDet's, cells of 16 pixels
LABELS = ("cup", "dog", "car")
OBJECTS = ((2, 0.9, (16, 12, 32, 40)), (0, 0.6, (30, 4, 62, 28)))  # class, score, xyxy
EXPECTED = sorted((class_id, score, *box) for class_id, score, box in OBJECTS)
DETECTORS = [name for name, head in HEADS.items() if head.task == "detection"]
FAMILIES = ("yolov8", "yolov5", "yolox", "end_to_end", "fastestdet")


def card_for(head, labels=LABELS, **detection):
    return Card(
        name="made",
        title="Made",
        license="MIT",
        source="made by the tests",
        task="detection",
        head=head,
        input=InputCard(size_wh=(SIDE, SIDE)),
        table=DetectionTable(**{"candidates": 20, "labels": labels, **detection}),
    )


def logit(score):
    return np.log(score / (1 - score))


def cxcywh(box):
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def cell_of(place):
    """Column, row and stride of a YOLOX place, counted by hand: 64 cells, then 16, then 4."""
    for stride, first, last in ((8, 0, 64), (16, 64, 80), (32, 80, 84)):
        if place < last:
            across = SIDE // stride
            return (place - first) % across, (place - first) // across, stride
    raise AssertionError(place)


def empty_rows(count, before, classes):
    """(count, before + classes): boxes somewhere, scores of nearly nothing."""
    rows = np.full((count, before + classes), 0.001)
    rows[:, :4] = np.random.default_rng(0).uniform(1, 60, (count, 4))
    return rows


def encode_yolov8(classes):
    rows = empty_rows(PLACES, 4, classes)
    for place, (class_id, score, box) in zip((10, 70), OBJECTS, strict=True):
        rows[place, :4], rows[place, 4 + class_id] = cxcywh(box), score
    return rows[None].transpose(0, 2, 1)


def encode_yolov5(classes):
    rows = empty_rows(3 * PLACES, 5, classes)
    for place, (class_id, score, box) in zip((200, 7), OBJECTS, strict=True):
        rows[place, :4], rows[place, 4], rows[place, 5 + class_id] = cxcywh(box), 0.95, score / 0.95
    return rows[None]


def encode_yolox(classes):
    rows = empty_rows(PLACES, 5, classes)
    rows[:, :4] = 0
    for place, (class_id, score, box) in zip((27, 81), OBJECTS, strict=True):
        column, row, stride = cell_of(place)
        x, y, w, h = np.array(cxcywh(box)) / stride
        rows[place, :4] = x - column, y - row, np.log(w), np.log(h)
        rows[place, 4], rows[place, 5 + class_id] = 0.95, score / 0.95
    return rows[None]


def encode_end_to_end(_classes):
    rows = np.zeros((300, 6))
    for place, (class_id, score, box) in zip((1, 0), OBJECTS, strict=True):
        rows[place] = (*box, score, class_id)
    return rows[None]


def encode_fastestdet(classes):
    grid = np.zeros((5 + classes, GRID, GRID))
    grid[5:], grid[0] = 0.001, 0.001
    for (column, row), (class_id, score, box) in zip(((1, 1), (2, 1)), OBJECTS, strict=True):
        x, y, w, h = cxcywh(box)
        grid[1:3, row, column] = np.arctanh([x / 16 - column, y / 16 - row])
        grid[3:5, row, column] = logit(w / SIDE), logit(h / SIDE)
        grid[0, row, column] = grid[5 + class_id, row, column] = score
    return grid[None]


ENCODE = {name: globals()[f"encode_{name}"] for name in FAMILIES}
TURNED = ("yolov8", "yolov5", "yolox")  # written in both orders of their two axes
RAW_MAP = np.full((1, 3, 4, 4, 85), 3.0)  # what some exports give beside the finished output


def variants():
    for name in FAMILIES:
        made = ENCODE[name](len(LABELS))
        yield name, "plain", {"output0": made}
        if name in TURNED:
            yield name, "turned", {"output0": made.transpose(0, 2, 1)}
            yield name, "beside a raw map", {"a": made, "b": RAW_MAP}
            yield name, "behind a raw map", {"a": RAW_MAP, "b": made}


VARIANTS = {f"{name}, {how}": (name, outputs) for name, how, outputs in variants()}


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("labels", [LABELS, ()], ids=["labels", "no labels"])
@pytest.mark.parametrize(("name", "outputs"), VARIANTS.values(), ids=VARIANTS)
def test_two_known_objects(tmp_path, name, outputs, labels, multi_label):
    """In every layout, order and name the same two objects come out (O-11, O-14)."""
    card = card_for(name, labels, multi_label=multi_label)
    model = constant_outputs(outputs, (SIDE, SIDE))
    for rows in graph_and_twin(tmp_path, model, card):
        assert rows_of(rows, above=0.5) == [pytest.approx(row, abs=1e-2) for row in EXPECTED]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_families_at_their_real_sizes(tmp_path, name):
    """80 classes, as COCO models have them: the same two objects (O-14)."""
    card = card_for(name, tuple(f"c{index}" for index in range(80)))
    model = constant_outputs({"output0": ENCODE[name](80)}, (SIDE, SIDE))
    for rows in graph_and_twin(tmp_path, model, card):
        assert rows_of(rows, above=0.5) == [pytest.approx(row, abs=1e-2) for row in EXPECTED]


SHAPES = {
    "yolov8": lambda classes: (1, 4 + classes, PLACES),
    "yolov5": lambda classes: (1, 3 * PLACES, 5 + classes),
    "yolox": lambda classes: (1, PLACES, 5 + classes),
    "end_to_end": lambda _classes: (1, 50, 6),
    "fastestdet": lambda classes: (1, 5 + classes, GRID, GRID),
}


def random_output(name, classes, seed):
    """Coarse probabilities, so that ties and zeros are everywhere."""
    random = np.random.default_rng(seed)
    made = random.integers(0, random.integers(2, 40), SHAPES[name](classes)) / 40
    if name == "end_to_end":
        made[..., 5] = random.integers(0, classes, made.shape[:2])
    return made


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    classes=st.sampled_from([1, 3, 80]),
    choice=st.fixed_dictionaries(
        {"candidates": st.sampled_from([1, 20, 100, 3840]), "multi_label": st.booleans()}
    ),
    turned=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_graph_equals_twin(tmp_path, name, classes, choice, turned, seed):
    """Whatever a model puts out, ties and zeros included, graph and twin leave the same rows."""
    made = random_output(name, classes, seed)
    if turned and name in TURNED:
        made = made.transpose(0, 2, 1)
    labels = tuple(f"c{index}" for index in range(classes))
    card = card_for(name, labels, **choice)
    graph, twin = graph_and_twin(tmp_path, constant_outputs({"o": made}, (SIDE, SIDE)), card)
    several = classes if choice["multi_label"] and name != "end_to_end" else 1
    places = {"fastestdet": GRID * GRID, "end_to_end": 50, "yolov5": 3 * PLACES}.get(name, PLACES)
    assert graph["scores"].shape == (1, min(choice["candidates"], places * several))
    assert_same(graph, twin)


def raw_values(seed, *shape):
    """Coarse values before a sigmoid, with ties."""
    return np.random.default_rng(seed).integers(-12, 9, shape) / 2


TAILS = {
    "yolov8": lambda classes, seed: models.yolov8_tail(
        raw_values(seed, 1, 4 * 16, PLACES), raw_values(seed + 1, 1, classes, PLACES), SIDE
    ),
    "yolox": lambda classes, seed: models.yolox_tail(
        [raw_values(seed, 1, 5 + classes, SIDE // each, SIDE // each) / 2 for each in STRIDES], SIDE
    ),
    "yolov5": lambda classes, seed: models.yolov5_tail(
        raw_values(seed, 1, 5 + classes, SIDE // 8, SIDE // 8), SIDE
    ),
}


def transposed(model):
    """The same export, with its two axes turned around at the end."""
    model.graph.node[-1].output[0] = "straight"
    turn = helper.make_node("Transpose", ["straight"], ["output"], perm=[0, 2, 1])
    model.graph.node.append(turn)
    return model


@pytest.mark.parametrize("turn", [lambda model: model, transposed], ids=["plain", "turned"])
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("classes", [1, 3, 80])
@pytest.mark.parametrize("name", TAILS)
def test_an_exports_end_is_cut_without_a_difference(tmp_path, name, classes, multi_label, turn):
    """Choosing on raw values and decoding the chosen alone gives what the whole export gives."""
    labels = tuple(f"c{index}" for index in range(classes))
    for seed in range(3):
        model = turn(with_conv(TAILS[name](classes, 10 * seed)))
        card = card_for(name, labels, multi_label=multi_label, candidates=40)
        assert_same(*graph_and_twin(tmp_path, model, card))


def largest_input(path, kind):
    """The most elements that any operator of this kind takes."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    sizes = {
        value.name: np.prod([dim.dim_value for dim in value.type.tensor_type.shape.dim])
        for value in (*graph.value_info, *graph.output)
    }
    return max(sizes[node.input[0]] for node in graph.node if node.op_type == kind)


@pytest.mark.parametrize("turn", [lambda model: model, transposed], ids=["plain", "turned"])
def test_yolov8_decodes_the_chosen_alone(tmp_path, turn):
    """Softmax, sigmoid and the anchors' arithmetic run on K places, not on all of them."""
    onnx.save(turn(with_conv(TAILS["yolov8"](3, 0))), tmp_path / "model.onnx")
    canonical = canonicalize(
        tmp_path / "model.onnx", card_for("yolov8"), HEADS["yolov8"], tmp_path / "canonical.onnx"
    )
    assert largest_input(canonical.path, "Softmax") == 20 * 4 * 16
    assert largest_input(canonical.path, "Sigmoid") == 20
    assert largest_input(canonical.path, "Div") == 20 * 2


def test_yolox_never_joins_what_is_wanted_apart(tmp_path):
    """Boxes, objectness and classes are not written into one table and taken out of it again."""
    onnx.save(with_conv(TAILS["yolox"](3, 0)), tmp_path / "model.onnx")
    canonical = canonicalize(
        tmp_path / "model.onnx", card_for("yolox"), HEADS["yolox"], tmp_path / "canonical.onnx"
    )
    assert largest_input(canonical.path, "Transpose") <= SIDE * SIDE * 3  # the picture's own
    assert 8 * PLACES not in {
        np.prod([dim.dim_value for dim in value.type.tensor_type.shape.dim])
        for value in onnx.load(canonical.path).graph.value_info
    }


def refused(tmp_path, model, card):
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelError) as caught:
        canonicalize(path, card, HEADS[card.head], tmp_path / "canonical.onnx")
    return caught.value


@pytest.mark.parametrize(
    ("wrong", "right"),
    [(wrong, right) for right in TAILS for wrong in DETECTORS if wrong != right],
)
def test_a_wrong_head_is_told_the_right_one(tmp_path, wrong, right):
    """A card that names another family is refused, with the family that fits (O-14)."""
    error = refused(tmp_path, with_conv(TAILS[right](3, 0)), card_for(wrong))
    assert f"head {wrong}" in str(error)
    assert f'head = "{right}"' in error.hint


@pytest.mark.parametrize(
    ("wrong", "right"), [("yolov5", "yolov8"), ("yolox", "yolov8"), ("yolov8", "yolox")]
)
def test_a_wrong_head_is_seen_without_labels(tmp_path, wrong, right):
    """Where the card counts no classes, the graph's end still tells the families apart."""
    side = 256  # more places than figures, as in any real model
    tails = {
        "yolov8": models.yolov8_tail(raw_values(0, 1, 64, 1344), raw_values(1, 1, 80, 1344), side),
        "yolox": models.yolox_tail(
            [raw_values(0, 1, 85, side // each, side // each) for each in STRIDES], side
        ),
    }
    card = card_for(wrong, ())
    card = replace(card, input=replace(card.input, size_wh=(side, side)))
    error = refused(tmp_path, with_conv(tails[right]), card)
    assert f'head = "{right}"' in error.hint


@pytest.mark.parametrize(
    ("name", "output", "message"),
    [
        ("end_to_end", np.zeros((1, 300, 7)), r"output0 \(1, 300, 7\) holds oriented boxes"),
        ("end_to_end", np.zeros((1, 84, 8400)), r"one output \(1, rows, 6\), got output0 \(1, 84"),
        ("yolov8", np.zeros((1, 20, 8400)), r"4 values and 3 labels .* \(1, 20, 8400\)"),
        ("yolov8", np.zeros((1, 8, 8400)), r"4 values and 3 labels .* \(1, 8, 8400\)"),
        ("yolov5", np.zeros((1, 8400, 7)), r"5 values and 3 labels .* \(1, 8400, 7\)"),
        ("yolox", np.zeros((1, 86, 8)), r"84 or 85 places .* \(1, 86, 8\)"),
        ("yolox", np.zeros((1, 90, 8)), r"84 or 85 places .* \(1, 90, 8\)"),
        ("fastestdet", np.zeros((1, 7, 4, 4)), r"\(1, 5 \+ 3, rows, columns\), got .*\(1, 7, 4, 4"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_shapes(tmp_path, name, output, message):
    """An unknown layout is refused when the engine is built, with the shapes printed (O-14)."""
    model = constant_outputs({"output0": output}, (SIDE, SIDE))
    error = refused(tmp_path, model, card_for(name))
    assert re.search(message, str(error))
    assert error.hint


def test_two_outputs_that_both_could_be_it_are_refused(tmp_path):
    """Which of two tables holds the detections is not guessed (O-11)."""
    table = encode_yolov8(3)
    model = constant_outputs({"a": table, "b": table}, (SIDE, SIDE))
    error = refused(tmp_path, model, card_for("yolov8"))
    assert "one output of 3 dimensions, got a (1, 7, 84), b (1, 7, 84)" in str(error)


def test_scores_without_a_sigmoid_are_refused(tmp_path):
    """A YOLOX that was cut before its sigmoids is not taken for one with very sure scores."""
    model = with_conv(TAILS["yolox"](3, 0))
    for node in model.graph.node:
        if node.op_type == "Sigmoid":
            node.op_type = "Identity"
    error = refused(tmp_path, model, card_for("yolox"))
    assert "without a sigmoid" in str(error)


@pytest.mark.parametrize("task", ["segment", "pose", "obb", "classify"])
def test_a_model_of_another_task_is_refused(tmp_path, task):
    """A file that says of itself that it is no detector is believed."""
    model = constant_outputs({"output0": encode_yolov8(3)}, (SIDE, SIDE))
    model.metadata_props.add(key="task", value=task)
    assert f"its task is {task}" in str(refused(tmp_path, model, card_for("yolov8")))


@pytest.mark.parametrize("name", TAILS)
def test_half_precision_models_keep_a_single_precision_head(tmp_path, name):
    """Outputs in float16 are decoded in float32: no place is lost to rounding (O-12)."""
    model = TAILS[name](3, 0)
    halve(model)
    graph, twin = graph_and_twin(tmp_path, model, card_for(name, candidates=84))
    kinds = {
        each.name: each.data_type for each in onnx.load(tmp_path / "model.onnx").graph.initializer
    }
    assert onnx.TensorProto.FLOAT16 in kinds.values()
    np.testing.assert_allclose(graph["scores"], twin["scores"], atol=2e-3)
    assert graph["boxes"].dtype == np.float32


def halve(model):
    """Every float32 of the model as float16."""
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16


@pytest.mark.parametrize(("name", "head"), HEADS.items())
def test_every_head_goes_by_its_files_name(name, head):
    """A head is found under the name that cards use."""
    assert head.name == name
    assert head.task in known()


def test_no_score_no_class(tmp_path):
    """Rows that an export pads with, at zero or below, have score 0 and class -1."""
    made = encode_end_to_end(3)
    made[0, 2:, 4] = -1
    card = replace(card_for("end_to_end"), table=DetectionTable(candidates=10))
    model = constant_outputs({"output0": made}, (SIDE, SIDE))
    for rows in graph_and_twin(tmp_path, model, card):
        assert rows["class_ids"][0].tolist() == [2, 0, *[-1] * 8]
        assert rows["scores"][0, 2:].tolist() == [0] * 8


def documented_cards():
    text = (Path(__file__).parents[2] / "docs" / "heads.md").read_text(encoding="utf-8")
    return re.findall(r"```toml\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_documented_card_is_one(tmp_path, name):
    """The page's example for a head can be copied, and builds a model of that family."""
    text = next(each for each in documented_cards() if f'head = "{name}"' in each)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "model.toml").write_text(text, encoding="utf-8")
    card = read_card(tmp_path / "parts" / "model.toml")
    card = replace(card, input=replace(card.input, size_wh=(SIDE, SIDE)))
    model = constant_outputs({"output0": ENCODE[name](3)}, (SIDE, SIDE))
    for rows in graph_and_twin(tmp_path, model, card):
        assert rows_of(rows, above=0.5) == [pytest.approx(row, abs=1e-2) for row in EXPECTED]


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("name", FAMILIES)
def test_one_score_that_is_no_number_is_not_taken_for_nothing(tmp_path, name, number):
    """Comparisons drop NaN; the scores that leave the graph show that it was there."""
    made = ENCODE[name](len(LABELS))
    sane, broken = made.copy(), made
    score = {"yolov8": (0, 4, 3), "end_to_end": (0, 3, 4), "fastestdet": (0, 6, 3, 3)}
    broken[score.get(name, (0, 3, 6))] = number
    for outputs, is_sound in ((sane, True), (broken, False)):
        model = constant_outputs({"output0": outputs}, (SIDE, SIDE))
        rows, _ = graph_and_twin(tmp_path, model, card_for(name))
        assert np.isfinite(rows["scores"]).all() == is_sound
