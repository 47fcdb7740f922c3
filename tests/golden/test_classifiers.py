"""The classifier's head: what it reads from a graph's end, and its twin from the numbers alone."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from appliance.catalog.card import Card, InputCard, read_card
from appliance.catalog.inspection import inspect_onnx
from appliance.errors import ModelError
from appliance.optimizer import graph as surgery
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.heads import class_count, classifier
from appliance.tasks.classification import TASK, ClassificationTable
from tests.support.heads import HEADS, graph_and_twin
from tests.support.models import constant_outputs

SIDE = 32
LABELS = ("cup", "dog", "car", "fox")
LOGITS = np.array([[1.0, 3.0, -2.0, 2.0]], np.float32)


def softmax(logits):
    raised = np.exp(logits - logits.max())
    return raised / raised.sum()


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def card_for(labels=LABELS, **table):
    return Card(
        name="made",
        title="Made",
        license="MIT",
        source="made by the tests",
        task="classification",
        head="classifier",
        input=InputCard(size_wh=(SIDE, SIDE)),
        table=ClassificationTable(**{"labels": labels, **table}),
    )


def node(kind, *inputs, out, **attributes):
    return helper.make_node(kind, list(inputs), [out], **attributes)


SOFTMAX_BY_HAND = [
    node("ReduceMax", "x", out="most", axes=[1], keepdims=1),
    node("Sub", "x", "most", out="less"),
    node("Exp", "less", out="raised"),
    node("ReduceSum", "raised", "axis", out="sum", keepdims=1),
    node("Div", "raised", "sum", out="output"),
]
# Ends as exporters write them, behind logits `x` (1, C).
ENDS = {
    "logits": [node("Identity", "x", out="output")],
    "logits, (1, C, 1, 1)": [node("Reshape", "x", "planes", out="output")],
    "logits, (1, 1, 1, C)": [node("Reshape", "x", "last", out="output")],
    "softmax": [node("Softmax", "x", out="output", axis=1)],
    "softmax, then flat": [
        node("Reshape", "x", "planes", out="p"),
        node("Softmax", "p", out="s", axis=1),
        node("Flatten", "s", out="output"),
    ],
    "softmax by hand": SOFTMAX_BY_HAND,
    "logarithms": [node("LogSoftmax", "x", out="output", axis=1)],
}


def model_with(end, logits=LOGITS):
    """A network with this end; its logits leave a convolution."""
    classes = logits.shape[1]
    convolved = [
        node("Reshape", "given", "planes", out="spread"),
        node("Conv", "spread", "kernel", out="convolved"),
        node("Flatten", "convolved", out="x"),
    ]
    return constant_outputs(
        {"given": logits},
        (SIDE, SIDE),
        tail=[*convolved, *end],
        kernel=np.eye(classes, dtype=np.float32).reshape(classes, classes, 1, 1),
        planes=np.array([1, classes, 1, 1]),
        last=np.array([1, 1, 1, classes]),
        axis=np.array([1]),
    )


def rows(outputs):
    for name, dtype in (("scores", "float32"), ("class_ids", "int32")):
        assert outputs[name].dtype == dtype
    scores = outputs["scores"][0].round(5).tolist()
    return list(zip(outputs["class_ids"][0].tolist(), scores, strict=True))


def best_of(probabilities, count):
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [(int(each), pytest.approx(float(probabilities[each]), abs=2e-5)) for each in order]


@pytest.mark.parametrize("labels", [LABELS, ()], ids=["labels", "no labels"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_every_end_gives_the_same_probabilities(tmp_path, end, labels):
    """Logits get a softmax, and what has one gets no second: graph and twin alike."""
    for outputs in graph_and_twin(tmp_path, model_with(end), card_for(labels, top_k=3)):
        assert rows(outputs) == best_of(softmax(LOGITS[0]), 3)


@pytest.mark.parametrize("end", ["logits", "sigmoid"])
def test_labels_that_do_not_compete_have_a_sigmoid_each(tmp_path, end):
    """With multi_label every class leaves the engine, each with a score of its own, best first."""
    ends = {**ENDS, "sigmoid": [node("Sigmoid", "x", out="output")]}
    for outputs in graph_and_twin(tmp_path, model_with(ends[end]), card_for(multi_label=True)):
        assert rows(outputs) == best_of(sigmoid(LOGITS[0]), 4)


@pytest.mark.parametrize("logit", [-3.0, 0.4, 1.5])
@pytest.mark.parametrize("end", ["logits", "sigmoid"])
def test_one_label_alone_is_a_sigmoid(tmp_path, end, logit):
    """A model that tells one thing from all else has one score; a logit may look like one."""
    ends = {**ENDS, "sigmoid": [node("Sigmoid", "x", out="p"), node("Flatten", "p", out="output")]}
    logits = np.array([[logit]], np.float32)
    card = card_for(("defect",), multi_label=True)
    for outputs in graph_and_twin(tmp_path, model_with(ends[end], logits), card):
        assert rows(outputs) == [(0, pytest.approx(sigmoid(logit), abs=1e-5))]


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("classes", [2, 5, 1000, 5000])
def test_graph_equals_twin(tmp_path, classes, multi_label):
    """Whatever the logits, large ones and ties included, graph and twin leave the same scores."""
    random = np.random.default_rng(classes)
    logits = (random.integers(-60, 60, (1, classes)) / 2).astype(np.float32)
    card = card_for((), top_k=7, multi_label=multi_label)
    graph, twin = graph_and_twin(tmp_path, constant_outputs({"o": logits}, (SIDE, SIDE)), card)
    count = card.table.rows(classes)
    assert graph["scores"].shape == twin["scores"].shape == (1, count)
    np.testing.assert_allclose(graph["scores"], twin["scores"], atol=1e-6)
    expected = sigmoid(logits[0]) if multi_label else softmax(logits[0])
    for outputs in (graph, twin):
        scores, class_ids = outputs["scores"][0], outputs["class_ids"][0]
        assert (np.diff(scores) <= 1e-6).all()  # a sigmoid rounds by where a value lies
        assert ((scores == 0) == (class_ids == -1)).all()
        used = class_ids[scores > 0]
        assert len(set(used.tolist())) == len(used)
        np.testing.assert_allclose(expected[used], scores[scores > 0], atol=1e-6)


@pytest.mark.parametrize("end", ["logits", "softmax"])
def test_half_precision_models_keep_a_single_precision_head(tmp_path, end):
    """Logits in float16 become probabilities in float32; those that are such already stay."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (1, 1000)).astype(np.float32)
    cast = [node("Cast", "x", out="half", to=TensorProto.FLOAT16)]
    last = {"logits": "Identity", "softmax": "Softmax"}[end]
    model = model_with([*cast, node(last, "half", out="output")], logits)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    for outputs in graph_and_twin(tmp_path, model, card_for(())):
        np.testing.assert_allclose(
            outputs["scores"][0], np.sort(softmax(logits[0]))[:-6:-1], rtol=0.01
        )


def refused(tmp_path, model, card):
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelError) as caught:
        canonicalize(path, card, classifier.HEAD, tmp_path / "canonical.onnx")
    assert caught.value.hint
    return f"{caught.value} {caught.value.hint}"


def test_an_end_that_cannot_be_read_is_refused(tmp_path):
    """A softmax that something was done to is neither probabilities nor logits."""
    end = [node("Softmax", "x", out="s", axis=1), node("Mul", "s", "s", out="output")]
    said = refused(tmp_path, model_with(end), card_for())
    assert "ends in Mul behind Softmax" in said


@pytest.mark.parametrize(
    ("kind", "table", "message"),
    [
        ("Softmax", {"multi_label": True}, "multi_label = false"),
        ("LogSoftmax", {"multi_label": True}, "multi_label = false"),
        ("Sigmoid", {}, "multi_label = true"),
    ],
)
def test_a_card_that_contradicts_the_graph_is_refused(tmp_path, kind, table, message):
    """Whether classes compete is what the graph says; the card is told to say the same."""
    model = model_with([node(kind, "x", out="output")])
    assert message in refused(tmp_path, model, card_for(**table))


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        ({"o": np.zeros((1, 5))}, LABELS, r"one output \(1, classes\) of 4 labels, got o \(1, 5\)"),
        ({"o": np.zeros((1, 4, 7, 7))}, LABELS, r"4 labels, got o \(1, 4, 7, 7\)"),
        ({"o": np.zeros((1, 1))}, (), "at least 2 classes"),
        ({"a": np.zeros((1, 4)), "b": np.zeros((1, 4))}, LABELS, r"a \(1, 4\), b \(1, 4\)"),
        ({"a": np.zeros((1, 4)), "b": np.zeros((1, 9))}, (), r"a \(1, 4\), b \(1, 9\)"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_shapes(tmp_path, outputs, labels, message):
    """Which vector holds the classes is not guessed."""
    model = constant_outputs(outputs, (SIDE, SIDE))
    assert re.search(message, refused(tmp_path, model, card_for(labels)))


def test_labels_tell_the_classes_from_other_vectors(tmp_path):
    """Beside its features, a model's classes are the output with as many values as labels."""
    model = constant_outputs({"features": np.zeros((1, 64)), "classes": LOGITS}, (SIDE, SIDE))
    for outputs in graph_and_twin(tmp_path, model, card_for(top_k=1)):
        assert rows(outputs) == best_of(softmax(LOGITS[0]), 1)
    found = inspect_onnx(tmp_path / "model.onnx")
    assert class_count(classifier.HEAD, found.outputs, card_for()) == 4


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("table", [{}, {"multi_label": True}, {"top_k": 1}])
def test_one_score_that_is_no_number_is_not_taken_for_nothing(tmp_path, table, number):
    """Comparisons drop NaN; the scores that leave the graph show that it was there."""
    for value, is_sound in ((0.0, True), (number, False)):
        logits = LOGITS.copy()
        logits[0, 2] = value
        outputs, _ = graph_and_twin(tmp_path, model_with(ENDS["logits"], logits), card_for(**table))
        assert np.isfinite(outputs["scores"]).all() == is_sound


@pytest.mark.parametrize(
    ("told", "fits"), [("classify", True), ("detect", False), ("segment", False), ("", True)]
)
def test_a_file_that_says_its_task_is_believed(tmp_path, told, fits):
    """Ultralytics' exporter writes it, in its own words."""
    model = model_with(ENDS["softmax"])
    model.metadata_props.add(key="task", value=told)
    if fits:
        graph_and_twin(tmp_path, model, card_for())
    else:
        assert f"its task is {told}" in refused(tmp_path, model, card_for())


@pytest.mark.parametrize(
    ("end", "table", "fits"),
    [
        ("logits", {}, True),
        ("softmax", {}, True),
        ("softmax", {"multi_label": True}, False),
        ("logits", {"labels": ("one", "two")}, False),
    ],
)
def test_it_knows_its_own(tmp_path, end, table, fits):
    """A graph is a classifier's where one vector of classes ends as the card says."""
    path = tmp_path / "model.onnx"
    onnx.save(model_with(ENDS[end]), path)
    model = surgery.load(inspect_onnx(path), "images", (1, 3, SIDE, SIDE), {})
    assert classifier.match(model, replace(card_for(), table=card_for(**table).table)) == fits


def test_a_detector_is_no_classifier():
    """The head is found by its name, and makes the outputs of its task."""
    assert HEADS["classifier"].task == "classification"


def test_the_documented_card_is_one(tmp_path):
    """The page's example for the head can be copied, and builds a model of that family."""
    text = (Path(__file__).parents[2] / "docs" / "heads.md").read_text(encoding="utf-8")
    cards = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    written = next(each for each in cards if 'head = "classifier"' in each)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "model.toml").write_text(written, encoding="utf-8")
    card = read_card(tmp_path / "parts" / "model.toml")
    card = replace(card, input=replace(card.input, size_wh=(SIDE, SIDE)))
    for outputs in graph_and_twin(tmp_path, model_with(ENDS["logits"], LOGITS[:, :3]), card):
        assert rows(outputs) == best_of(softmax(LOGITS[0, :3]), 3)


def test_the_graph_has_the_outputs_that_the_task_names(tmp_path):
    """Names, types and axes: k of both, and N in front."""
    onnx.save(model_with(ENDS["logits"]), tmp_path / "model.onnx")
    card = card_for(top_k=3)
    made = canonicalize(tmp_path / "model.onnx", card, classifier.HEAD, tmp_path / "canonical.onnx")
    wanted = {(output.name, (1, 3), output.dtype) for output in TASK.outputs}
    assert {(each.name, each.shape, each.dtype) for each in made.contract.outputs} == wanted
