"""A canonical model in fewer bits: the same pictures, the same contract, and a valid graph."""

import logging
import tempfile
from collections import Counter

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from appliance.catalog.card import Card, InputCard
from appliance.errors import ModelError
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.heads import Head
from appliance.optimizer.precision import rewrite
from appliance.values import Precision
from tests.support.detectors import (
    CENTERNET,
    CLIP,
    DETECTORS,
    MADE,
    canonical_of,
    card_of,
    frames_of,
    made_model,
    rounding_as_halves_do,
)
from tests.support.heads import run
from tests.support.models import model_of, paint

SIDE = 16
IMAGE = (1, 3, SIDE, SIDE)
HALF, SINGLE = TensorProto.FLOAT16, TensorProto.FLOAT
RANDOM = np.random.default_rng(3)
STEM = RANDOM.normal(0, 0.002, (4, 3, 3, 3)).astype(np.float32)  # as if a scale were folded in
KERNEL = RANDOM.normal(0, 0.2, (4, 4, 3, 3)).astype(np.float32)
EACH = RANDOM.normal(0, 0.3, (4, 1, 3, 3)).astype(np.float32)


def pass_on(model, _card):
    """A head that gives the foreign model's outputs as they are."""
    first, *others = model.graph.outputs
    return {"values": first, **{value.name: value for value in others}}


PASS_ON = Head(
    "pass_on", "detection", lambda *_: True, pass_on, lambda outputs, *_: outputs, lambda *_: 0
)
CARD = Card(
    name="made",
    title="Made",
    license="MIT",
    source="made by the tests",
    task="detection",
    head="pass_on",
    input=InputCard(size_wh=(SIDE, SIDE)),
)


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs, [output], **attributes)


def conv(source, weights, output, **attributes):
    return node("Conv", [source, weights], output, pads=[1, 1, 1, 1], **attributes)


def network(*middle, last="b", shape=(1, 4, SIDE, SIDE), **weights):
    """A convolution, what is between `a` and `last`, and a convolution to `y`."""
    nodes = [conv("x", "stem", "a"), *middle, conv(last, "kernel", "y")]
    return model_of(
        nodes,
        inputs={"x": IMAGE},
        outputs={"y": shape},
        weights={"stem": STEM, "kernel": KERNEL, **weights},
    )


@pytest.fixture
def canonical(tmp_path):
    """Makes a network canonical; the file's path."""

    def make(model):
        onnx.save(model, tmp_path / "model.onnx")
        made = canonicalize(tmp_path / "model.onnx", CARD, PASS_ON, tmp_path / "canonical.onnx")
        return made.path

    return make


@pytest.fixture
def halved(tmp_path, canonical):
    """Makes a network canonical and lowers it; both files' paths."""

    def make(model):
        path = canonical(model)
        return path, rewrite(path, Precision.FP16, tmp_path / "fp16.onnx")

    return make


@pytest.fixture
def picture():
    """A frame of noise: (1, H, W, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)


def types_of(model):
    """The type of every tensor, by name."""
    graph = model.graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    return types


def read_types(model, kind):
    """The types that the nodes of a kind read, in order."""
    types = types_of(model)
    return [
        [types[n] for n in each.input if n] for each in model.graph.node if each.op_type == kind
    ]


def assert_well_made(path):
    """Valid by the strict checker; names once; no Cast twice, none that undoes another."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    graph = model.graph
    made = [name for each in graph.node for name in each.output if name]
    made += [each.name for each in (*graph.initializer, *graph.input)]
    assert len(made) == len(set(made))
    names = [each.name for each in graph.node]
    assert len(names) == len(set(names))
    casts = {n.output[0]: (n.input[0], n.attribute[0].i) for n in graph.node if n.op_type == "Cast"}
    assert len(set(casts.values())) == len(casts)
    types = types_of(model)
    for source, to in casts.values():
        assert types[source] != to
        assert (
            to != HALF
            or casts.get(source, ("", 0))[1] != SINGLE
            or (types[casts[source][0]] != HALF)
        )


def largest_difference(one, other, frames):
    """Of the first output."""
    feeds = {"frames": frames}
    first, second = (next(iter(run(path, feeds).values())) for path in (one, other))
    return float(np.abs(first - second).max())


def test_single_precision_is_the_file_itself(tmp_path, canonical):
    """Nothing is written where nothing changes."""
    path = canonical(network(node("Relu", ["a"], "b")))
    assert rewrite(path, Precision.FP32, tmp_path / "fp32.onnx") == path
    assert not (tmp_path / "fp32.onnx").exists()


def agreeing(one, other):
    """Differences of boxes in pixels and of scores, of rows that both have, best matches."""
    both = []
    for rows, others in ((one, other), (other, one)):
        last = max(rows["scores"][0, -1], others["scores"][0, -1], 0.1) + 0.02
        for box, score, class_id in zip(*(rows[n][0] for n in OUTPUTS), strict=True):
            same = others["class_ids"][0] == class_id
            if score > last:
                assert same.any()
                boxes = np.abs(others["boxes"][0][same] - box).max(axis=1)
                scores = np.abs(others["scores"][0][same] - score)
                best = np.maximum(boxes, 100 * scores).argmin()
                both.append((boxes[best], scores[best]))
    return both


OUTPUTS = ("boxes", "scores", "class_ids")


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_half_precision_sees_the_same(request, tmp_path, test_data, name):
    """On a street, with every half-precision tensor rounded as a GPU rounds it."""
    weights = request.getfixturevalue("centernet") if name == CENTERNET else test_data(name)
    card = card_of(name, tmp_path)
    single = canonical_of(weights, card, tmp_path).path
    path = rewrite(single, Precision.FP16, tmp_path / "fp16.onnx")
    assert_well_made(path)
    rounded = rounding_as_halves_do(path, tmp_path / "rounded.onnx")
    pairs, differs = [], 0.0
    for frame in frames_of(test_data(CLIP), card, 8):
        wide, narrow = (run(each, {"frames": frame[None]}) for each in (single, rounded))
        assert np.isfinite(narrow["boxes"]).all()
        differs = max(differs, float(np.abs(wide["scores"] - narrow["scores"]).max()))
        pairs += agreeing(wide, narrow)
    assert differs < 0.03
    assert differs > 0 or "random" in name  # it was rounded; random weights see nothing anyway
    boxes_px, scores = np.array(pairs or [(0, 0)]).T
    assert len(pairs) > 100 or "random" in name
    assert np.percentile(boxes_px, 98) < 0.5
    assert np.percentile(scores, 98) < 0.01


@pytest.mark.parametrize("name", MADE)
def test_heads_stay_as_they_are(tmp_path, name):
    """What a made model of each head says, it says in half precision to a hundredth."""
    model, card = made_model(name)
    onnx.save(model, tmp_path / "model.onnx")
    single = canonical_of(tmp_path / "model.onnx", card, tmp_path).path
    path = rewrite(single, Precision.FP16, tmp_path / "fp16.onnx")
    assert_well_made(path)
    frames = paint([("red", 16, 16, 32, 32), ("green", 40, 36, 56, 52)], (64, 64))[None]
    rounded = rounding_as_halves_do(path, tmp_path / "rounded.onnx")
    wide, narrow = (run(each, {"frames": frames}) for each in (single, rounded))
    found = wide["scores"][0] > 0.3
    assert found.any()
    np.testing.assert_allclose(narrow["scores"], wide["scores"], atol=1e-2)
    np.testing.assert_array_equal(narrow["class_ids"][0][found], wide["class_ids"][0][found])
    if "boxes" in wide:
        np.testing.assert_allclose(narrow["boxes"][0][found], wide["boxes"][0][found], atol=0.05)


def test_the_body_alone_is_in_half_precision(halved):
    """Neither the picture, nor the convolution that sees it, nor what the head reads."""
    middle = [node("Relu", ["a"], "r"), conv("r", "mid", "c"), node("Relu", ["c"], "b")]
    _, path = halved(network(*middle, mid=KERNEL))
    model = onnx.load(path)
    assert read_types(model, "Conv") == [[SINGLE, SINGLE], [HALF, HALF], [SINGLE, SINGLE]]
    assert read_types(model, "Relu") == [[HALF], [HALF]]
    assert types_of(model)["values"] == SINGLE
    assert_well_made(path)


def test_moved_pixels_are_pixels(halved):
    """A picture that is rearranged first meets its convolution in single precision as well."""
    nodes = [
        node("Slice", ["x", "zero", "all", "axis"], "s"),
        node("Concat", ["s", "x"], "six", axis=1),
        conv("six", "wide", "a"),
        node("Relu", ["a"], "r"),
        conv("r", "kernel", "c"),
        conv("c", "kernel", "y"),
    ]
    ends = {"zero": np.array([0]), "all": np.array([3]), "axis": np.array([1])}
    wide = np.concatenate([STEM, STEM], axis=1)
    weights = {"wide": wide, "kernel": KERNEL, **ends}
    shape = (1, 4, SIDE, SIDE)
    model = model_of(nodes, inputs={"x": IMAGE}, outputs={"y": shape}, weights=weights)
    _, path = halved(model)
    types = read_types(onnx.load(path), "Conv")
    assert types == [[SINGLE, SINGLE], [HALF, HALF], [SINGLE, SINGLE]]


def test_one_tensor_for_many_is_cast_once(halved, picture):
    """A tensor that several nodes of either precision read goes through one Cast each way."""
    single, path = halved(
        network(
            node("Relu", ["a"], "r"),
            node("Sigmoid", ["a"], "s"),
            node("Pow", ["r", "two"], "p"),  # in single precision: a square overflows
            node("Exp", ["r"], "e"),
            node("Mul", ["r", "s"], "m"),
            node("Add", ["m", "p"], "n"),
            node("Mul", ["m", "p"], "o"),
            node("Add", ["n", "e"], "q"),
            node("Add", ["q", "o"], "b"),
            two=np.float32(2),
        )
    )
    assert_well_made(path)
    model = onnx.load(path)
    assert read_types(model, "Pow") == [[SINGLE, SINGLE]]
    assert read_types(model, "Exp") == [[SINGLE]]
    ours = [each for each in model.graph.node if each.name.startswith("canonical/precision/")]
    # a down for two, r up for two, p down for two, e down, b up
    assert Counter(each.attribute[0].i for each in ours) == {HALF: 3, SINGLE: 2}
    assert largest_difference(single, path, picture) < 0.1


def test_a_constant_of_both_precisions_is_kept_twice(halved, picture):
    """Once for each, whoever reads it."""
    single, path = halved(
        network(
            node("Mul", ["a", "gain"], "m"),
            node("Pow", ["m", "gain"], "p"),
            node("Add", ["p", "gain"], "q"),
            node("Add", ["q", "m"], "b"),
            gain=np.float32(2),
        )
    )
    assert_well_made(path)
    model = onnx.load(path)
    assert read_types(model, "Mul") == [[HALF, HALF]]
    assert read_types(model, "Pow") == [[SINGLE, SINGLE]]
    numbers = [t for t in model.graph.initializer if not t.dims and t.data_type in {HALF, SINGLE}]
    assert Counter(t.data_type for t in numbers) == {HALF: 1, SINGLE: 1}
    assert largest_difference(single, path, picture) < 0.1


def test_what_onnx_wants_in_single_precision_stays(halved, picture):
    """Resize's scales, and a comparison; data, padding and indices are lowered or left."""
    single, path = halved(
        network(
            node("Resize", ["a", "", "scales"], "big", mode="linear"),
            node("Pad", ["big", "pads", "value"], "padded"),
            node("MaxPool", ["padded"], "small", kernel_shape=[2, 2], strides=[2, 2]),
            node("Gather", ["small", "order"], "turned", axis=1),
            node("Greater", ["turned", "zero"], "positive"),
            node("Where", ["positive", "turned", "zero"], "b"),
            scales=np.array([1, 1, 2, 2], np.float32),
            pads=np.array([0, 0, 1, 1, 0, 0, -1, -1]),
            value=np.float32(0.5),
            order=np.array([3, 1, 0, 2]),
            zero=np.float32(0),
        )
    )
    assert_well_made(path)
    model = onnx.load(path)
    assert read_types(model, "Resize") == [[HALF, SINGLE]]
    assert read_types(model, "Pad") == [[HALF, TensorProto.INT64, HALF]]
    assert read_types(model, "Gather") == [[HALF, TensorProto.INT64]]
    assert read_types(model, "Greater") == [[SINGLE, SINGLE]]
    assert read_types(model, "Where") == [[TensorProto.BOOL, HALF, HALF]]
    assert largest_difference(single, path, picture) < 0.1


def attention(mask_node, mask):
    """Softmax over masked values, on the way from `a` to `b`."""
    return network(
        mask_node, node("Softmax", ["masked"], "b", axis=3), mask=mask, seen=np.eye(SIDE) > 0
    )


@pytest.mark.parametrize("low", [-np.inf, -1e9, np.finfo(np.float32).min])
@pytest.mark.parametrize("kind", ["Where", "Add"])
def test_masks_mean_the_same(halved, picture, kind, low):
    """Whatever stands for minus infinity before a Softmax leaves nothing of what it masks."""
    low = np.float32(low)
    if kind == "Where":
        model = attention(node("Where", ["seen", "a", "mask"], "masked"), low)
    else:
        mask = np.where(np.eye(SIDE) > 0, np.float32(0), low).astype(np.float32)
        model = attention(node("Add", ["a", "mask"], "masked"), mask)
    single, path = halved(model)
    assert read_types(onnx.load(path), "Softmax") == [[HALF]]
    assert np.isfinite(next(iter(run(path, {"frames": picture}).values()))).all()
    assert largest_difference(single, path, picture) < 0.01


def test_limits_beyond_the_range_are_the_range(halved, picture):
    """A Clip up to 3e38 limits nothing, in half precision as before."""
    top = np.finfo(np.float32).max
    single, path = halved(
        network(node("Clip", ["a", "low", "top"], "b"), low=np.float32(0), top=top)
    )
    assert read_types(onnx.load(path), "Clip") == [[HALF, HALF, HALF]]
    assert largest_difference(single, path, picture) < 0.01


@pytest.mark.parametrize("kind", ["Mul", "Where"])
def test_numbers_beyond_the_range_are_refused(halved, kind):
    """70,000 has no half-precision number: the person is told which, and what to set."""
    big = np.full((1, 4, 1, 1), 70_000, np.float32)
    inputs = ["a", "big"] if kind == "Mul" else ["seen", "a", "big"]
    weights = {"big": big, "seen": np.eye(SIDE) > 0}
    with pytest.raises(ModelError, match="big: 70000 is beyond half precision") as caught:
        halved(network(node(kind, inputs, "b"), **weights))
    assert "APPLIANCE_ENGINE__PRECISION=fp32" in caught.value.hint


def test_what_guards_a_division_stays_above_zero(halved, picture):
    """1e-12 would be 0 in half precision, and a flat picture no number at all."""
    _, path = halved(
        network(
            node("Mul", ["a", "none"], "z"),
            node("Add", ["z", "tiny"], "d"),
            node("Div", ["z", "d"], "b"),
            none=np.float32(0),
            tiny=np.float32(1e-12),
        )
    )
    assert np.isfinite(next(iter(run(path, {"frames": picture}).values()))).all()


def test_outputs_keep_their_type(halved, picture):
    """Where a half-precision node makes an output of the graph, a Cast gives it."""
    model = network(node("Relu", ["a"], "b"))
    model.graph.output[0].name = "b"
    model.graph.node.append(conv("b", "kernel", "more"))
    middle = helper.make_tensor_value_info("more", SINGLE, (1, 4, SIDE, SIDE))
    model.graph.output.append(middle)
    onnx.checker.check_model(model)
    _, path = halved(model)
    assert_well_made(path)
    assert types_of(onnx.load(path))["values"] == SINGLE
    assert set(run(path, {"frames": picture})) == {"values", "more"}


def test_a_branch_reads_what_it_captured(halved, picture):
    """An If whose branches use a tensor from outside still gets it in single precision."""

    def branch(name, kind):
        output = helper.make_tensor_value_info(name, SINGLE, (1, 4, SIDE, SIDE))
        return helper.make_graph([node(kind, ["r"], name)], name, [], [output])

    single, path = halved(
        network(
            node("Relu", ["a"], "r"),
            node("ReduceMean", ["r"], "m", keepdims=0),
            node("Greater", ["m", "zero"], "bright"),
            node(
                "If",
                ["bright"],
                "i",
                then_branch=branch("t", "Neg"),
                else_branch=branch("e", "Abs"),
            ),
            node("Add", ["i", "r"], "b"),
            zero=np.float32(0),
        )
    )
    assert_well_made(path)
    assert read_types(onnx.load(path), "Add") == [[HALF, HALF]]
    assert largest_difference(single, path, picture) < 0.01


def test_a_model_that_came_in_half_precision_gets_no_casts(halved):
    """What is raised for one operator alone is taken from before, not lowered again."""
    down = helper.make_node("Cast", ["x"], ["h"], to=HALF)
    nodes = [
        down,
        conv("h", "stem", "c"),
        node("Relu", ["c"], "r"),
        helper.make_node("Cast", ["r"], ["up"], to=SINGLE),
        node("Sigmoid", ["up"], "s"),
        conv("s", "kernel", "d"),
        conv("d", "kernel", "y"),
    ]
    weights = {"stem": STEM.astype(np.float16), "kernel": KERNEL}
    shape = (1, 4, SIDE, SIDE)
    model = model_of(nodes, inputs={"x": IMAGE}, outputs={"y": shape}, weights=weights)
    _, path = halved(model)
    assert_well_made(path)
    sigmoid = next(each for each in onnx.load(path).graph.node if each.op_type == "Sigmoid")
    assert sigmoid.input == ["r"]


STEPS = {
    "clip": lambda s, o: [node("Clip", [s, "low", "high"], o)],
    "conv": lambda s, o: [conv(s, "kernel", o)],
    "exp": lambda s, o: [node("Clip", [s, "low", "high"], f"{o}c"), node("Exp", [f"{o}c"], o)],
    "gate": lambda s, o: [node("Sigmoid", [s], f"{o}g"), node("Mul", [s, f"{o}g"], o)],
    "max": lambda s, o: [
        node("MaxPool", [s], o, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
    ],
    "mean": lambda s, o: [
        node("ReduceMean", [s], f"{o}m", axes=[2, 3]),
        node("Sub", [s, f"{o}m"], o),
    ],
    "norm": lambda s, o: [
        node("Pow", [s, "two"], f"{o}p"),
        node("ReduceMean", [f"{o}p"], f"{o}v", axes=[1]),
        node("Add", [f"{o}v", "eps"], f"{o}e"),
        node("Sqrt", [f"{o}e"], f"{o}d"),
        node("Div", [s, f"{o}d"], o),
    ],
    "order": lambda s, o: [node("Gather", [s, "order"], o, axis=1)],
    "relu": lambda s, o: [node("Relu", [s], o)],
    "split": lambda s, o: [
        helper.make_node("Split", [s, "parts"], [f"{o}l", f"{o}r"], axis=1),
        node("Concat", [f"{o}r", f"{o}l"], o, axis=1),
    ],
    "turn": lambda s, o: [
        node("Transpose", [s], f"{o}t", perm=[0, 2, 3, 1]),
        node("Softmax", [f"{o}t"], f"{o}s", axis=3),
        node("Transpose", [f"{o}s"], o, perm=[0, 3, 1, 2]),
    ],
}
NUMBERS = {
    "low": np.float32(-1),
    "high": np.float32(3),
    "two": np.float32(2),
    "eps": np.float32(1e-3),
    "order": np.array([2, 0, 3, 1]),
    "parts": np.array([1, 3]),
}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9)), min_size=1, max_size=10
    )
)
def test_any_network_stays_itself(halved, picture, steps):
    """Whatever is put together, and whatever is read again later: valid, and nearly the same."""
    nodes, values = [], ["a"]
    for index, (kind, back) in enumerate(steps):
        source = f"in{index}"
        nodes.append(node("Add", [values[-1], values[-1 - back % len(values)]], source))
        nodes += STEPS[kind](source, f"v{index}")
        nodes.append(node("Tanh", [f"v{index}"], f"t{index}"))
        values.append(f"t{index}")
    single, path = halved(network(*nodes, last=values[-1], **NUMBERS))
    assert_well_made(path)
    assert largest_difference(single, path, picture) < 0.2


def test_the_same_model_gives_the_same_bytes(tmp_path, canonical):
    """Rewriting twice gives one and the same file, in every precision."""
    path = canonical(network(node("Relu", ["a"], "r"), conv("r", "mid", "b"), mid=KERNEL))
    for precision in (Precision.FP16, Precision.INT8):
        one, two = (
            rewrite(path, precision, tmp_path / name, frames(3)).read_bytes()
            for name in ("one.onnx", "two.onnx")
        )
        assert one == two


def frames(count):
    """Frames of noise (H, W, 3), once."""
    random = np.random.default_rng(7)
    return (random.integers(0, 256, (SIDE, SIDE, 3), np.uint8) for _ in range(count))


@pytest.fixture
def whole(tmp_path, canonical):
    """Makes a network canonical and writes it in int8; both files' paths."""

    def make(model):
        path = canonical(model)
        return path, rewrite(path, Precision.INT8, tmp_path / "int8.onnx", frames(4))

    return make


MIDDLE = (
    node("Relu", ["a"], "r"),
    conv("r", "mid", "c"),
    conv("c", "each", "g", group=4),
    conv("g", "mid", "h"),
    node("Relu", ["h"], "b"),
)


def test_products_read_whole_numbers(whole, picture):
    """Data and weights go through Q/DQ; what has groups, and what ends the body, does not."""
    single, path = whole(network(*MIDDLE, mid=KERNEL, each=EACH))
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    makers = {name: each.op_type for each in model.graph.node for name in each.output}
    convolutions = [each for each in model.graph.node if each.op_type == "Conv"]
    reads = [[makers.get(name) == "DequantizeLinear" for name in n.input] for n in convolutions]
    none = [False, False]
    assert reads == [[True, True], [True, True], none, [True, True], none]
    assert largest_difference(single, path, picture) < 0.2


def test_scales_are_symmetric_and_per_channel(whole):
    """One scale for each channel of the weights, zero points of zero: what TensorRT takes."""
    _, path = whole(network(*MIDDLE, mid=KERNEL, each=EACH))
    graph = onnx.load(path).graph
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    for each in graph.node:
        if each.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            assert arrays[each.input[2]].dtype == np.int8
            assert not arrays[each.input[2]].any()
            shape = (4,) if each.input[0] in arrays else ()
            assert arrays[each.input[1]].shape == shape


def test_whole_constants_go_into_nothing_else(whole):
    """A constant in int8 that anything but DequantizeLinear reads makes TensorRT refuse."""
    _, path = whole(
        network(
            *MIDDLE[:4],
            node("Mul", ["h", "gain"], "m"),
            node("MatMul", ["m", "table"], "n"),
            node("MatMul", ["n", "m"], "o"),
            node("Relu", ["o"], "b"),
            mid=KERNEL,
            each=EACH,
            gain=np.float32(0.5),
            table=np.eye(SIDE, dtype=np.float32),
        )
    )
    graph = onnx.load(path).graph
    whole_numbers = {t.name for t in graph.initializer if t.data_type == TensorProto.INT8}
    assert whole_numbers
    for each in graph.node:
        allowed = {"DequantizeLinear": 3, "QuantizeLinear": 3}.get(each.op_type, 0)
        read = whole_numbers & set(each.input)
        assert not read or allowed
        assert each.op_type != "QuantizeLinear" or each.input[0] not in whole_numbers


def test_calibration_leaves_nothing_behind(tmp_path, monkeypatch, canonical, caplog):
    """No file in the temporary folder, no handler on the root logger, not a word."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    before = list(logging.getLogger().handlers)
    path = canonical(network(*MIDDLE, mid=KERNEL, each=EACH))
    rewrite(path, Precision.INT8, tmp_path / "int8.onnx", frames(2))
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not caplog.records
    assert logging.getLogger().handlers == before


def test_int8_without_frames_says_where_to_put_some(tmp_path, canonical):
    """There is nothing to guess: the person brings pictures."""
    path = canonical(network(*MIDDLE, mid=KERNEL, each=EACH))
    with pytest.raises(ModelError, match="calibrated on pictures") as caught:
        rewrite(path, Precision.INT8, tmp_path / "int8.onnx")
    assert "models/<name>/verify" in caught.value.hint


def test_int8_of_nothing_is_refused(tmp_path, canonical):
    """A body of one product, which is the last, has nothing that could be lowered."""
    shape = (1, 4, SIDE, SIDE)
    model = model_of(
        [conv("x", "stem", "y")], inputs={"x": IMAGE}, outputs={"y": shape}, weights={"stem": STEM}
    )
    with pytest.raises(ModelError, match="gains from int8") as caught:
        rewrite(canonical(model), Precision.INT8, tmp_path / "int8.onnx", frames(1))
    assert "APPLIANCE_ENGINE__PRECISION" in caught.value.hint
