"""Rewriting a foreign model: what it wants done to its input becomes part of the graph."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from appliance.catalog.card import Card, Channels, InputCard, Layout, read_card
from appliance.errors import ModelError
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.heads import Head, centernet
from appliance.values import TensorSpec
from tests.support.models import model_of

SIZE = 16
CHANNELS_FIRST, CHANNELS_LAST = (1, 3, SIZE, SIZE), (1, SIZE, SIZE, 3)
# Whole numbers, and powers of two for a deviation: every sum is exact in float32.
KERNEL = np.random.default_rng(1).integers(-4, 5, (2, 3, 3, 3)).astype(np.float32)
MEAN, STD = (120.0, 110.0, 100.0), (64.0, 32.0, 128.0)


def pass_on(model, _card):
    """A head that gives the foreign model's first output as it is."""
    return {"values": model.graph.outputs[0]}


PASS_ON = Head("pass_on", "detection", pass_on, lambda outputs, _card: outputs)


def card_for(layout, channels=Channels.RGB, *, mean=(0.0,) * 3, std=(1.0,) * 3):
    return Card(
        name="made",
        title="Made",
        license="MIT",
        source="made by the tests",
        task="detection",
        head="pass_on",
        input=InputCard(size_wh=(SIZE, SIZE), layout=layout, channels=channels, mean=mean, std=std),
    )


def conv(source="x", weights="kernel", into="y", **attributes):
    return helper.make_node("Conv", [source, weights], [into], pads=[1, 1, 1, 1], **attributes)


def network(nodes, layout, weights=None, *, channels_out=2, **options):
    """Nodes from `x` to `y`; `x` is in the layout."""
    shape = CHANNELS_LAST if layout is Layout.NHWC else CHANNELS_FIRST
    return model_of(
        nodes,
        inputs={"x": shape},
        outputs={"y": (1, channels_out, SIZE, SIZE)},
        weights={"kernel": KERNEL} if weights is None else weights,
        **options,
    )


TO_PLANES = helper.make_node("Transpose", ["x"], ["planes"], perm=[0, 3, 1, 2])
EACH = KERNEL[0][:, None]  # (3, 1, 3, 3): one filter for each channel
NETWORKS = {
    "conv": lambda: network([conv()], Layout.NCHW),
    "transposed conv": lambda: network([TO_PLANES, conv("planes")], Layout.NHWC),
    "image used twice": lambda: network(
        [conv(into="a"), conv(into="b"), helper.make_node("Add", ["a", "b"], ["y"])], Layout.NCHW
    ),
    "image seen beside the conv": lambda: network(
        [
            conv(into="a"),
            helper.make_node("ReduceMean", ["x"], ["b"], axes=[2, 3]),
            helper.make_node("Gather", ["b", "first"], ["c"], axis=1),
            helper.make_node("Add", ["a", "c"], ["y"]),
        ],
        Layout.NCHW,
        {"kernel": KERNEL, "first": np.array([0], np.int64)},
    ),
    "weights used twice": lambda: network(
        [
            conv(into="a"),
            helper.make_node("Concat", ["a", "one"], ["b"], axis=1),
            conv("b", into="y"),
        ],
        Layout.NCHW,
        {"kernel": KERNEL, "one": np.ones((1, 1, SIZE, SIZE), np.float32)},
    ),
    "depthwise conv": lambda: network(
        [conv(group=3)],
        Layout.NCHW,
        {"kernel": EACH},
        channels_out=3,
    ),
    "weights in a node": lambda: network(
        [
            helper.make_node(
                "Constant", [], ["kernel"], value=numpy_helper.from_array(KERNEL, "kernel")
            ),
            conv(),
        ],
        Layout.NCHW,
        {},
    ),
    "no conv": lambda: network(
        [helper.make_node("Mul", ["x", "kernel"], ["y"])],
        Layout.NCHW,
        {"kernel": np.array([1, 2, 4], np.float32).reshape(1, 3, 1, 1)},
        channels_out=3,
    ),
}
FOLDED = {"conv", "transposed conv"}


def layout_of(model):
    last = model.graph.input[0].type.tensor_type.shape.dim[3].dim_value
    return Layout.NHWC if last == 3 else Layout.NCHW


def run(path, feeds):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def as_the_authors_ran_it(path, frames, card):
    """The foreign model on float input, prepared by the card's words."""
    image = frames[..., ::-1] if card.input.channels == "rgb" else frames
    image = (image.astype(np.float32) - np.array(card.input.mean, np.float32)) / np.array(
        card.input.std, np.float32
    )
    return run(path, {"x": image if card.input.layout == "nhwc" else image.transpose(0, 3, 1, 2)})


@pytest.fixture
def frames():
    """One frame of noise: uint8 (1, H, W, 3) BGR."""
    return np.random.default_rng(0).integers(0, 256, CHANNELS_LAST, np.uint8)


@pytest.fixture
def rewrite(tmp_path):
    """Canonicalizes a model; gives the foreign file and the canonical one."""

    def make(model, card, head=PASS_ON):
        foreign = tmp_path / "model.onnx"
        onnx.save(model, foreign)
        return foreign, canonicalize(foreign, card, head, tmp_path / "canonical.onnx")

    return make


@pytest.mark.parametrize("normalized", [False, True], ids=["plain", "mean and std"])
@pytest.mark.parametrize("channels", Channels)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_canonical_model_is_the_foreign_one(rewrite, frames, name, channels, normalized):
    """Channel order, layout, mean and deviation are exact, to the border and the last bit."""
    model = NETWORKS[name]()
    figures = {"mean": MEAN, "std": STD} if normalized else {}
    card = card_for(layout_of(model), channels, **figures)
    foreign, canonical = rewrite(model, card)
    expected = as_the_authors_ran_it(foreign, frames, card)
    np.testing.assert_array_equal(run(canonical.path, {"frames": frames}), expected)
    other_order = run(canonical.path, {"frames": np.ascontiguousarray(frames[..., ::-1])})
    assert not np.array_equal(other_order, expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_channel_swap_costs_nothing_where_it_can(rewrite, name):
    """Into one plain convolution the swap is folded; anywhere else it is a node of its own."""
    model = NETWORKS[name]()
    before = sum(node.op_type == "Gather" for node in model.graph.node)
    _, canonical = rewrite(model, card_for(layout_of(model)))
    nodes = onnx.load(canonical.path).graph.node
    added = sum(node.op_type == "Gather" for node in nodes) - before
    assert added == (0 if name in FOLDED else 1)


def test_the_result_has_the_contracts_names_types_and_sizes(tmp_path, bright_spots):
    """A canonical detector takes uint8 frames and gives boxes, scores and classes, all fixed."""
    card = read_card(bright_spots / "model.toml")
    canonical = canonicalize(
        bright_spots / "model.onnx", card, centernet.HEAD, tmp_path / "canonical.onnx"
    )
    contract = canonical.contract
    assert contract.task == "detection"
    assert contract.input == TensorSpec("frames", (1, 64, 64, 3), "uint8")
    assert contract.input_wh == (64, 64)
    assert contract.outputs == (
        TensorSpec("boxes", (1, 50, 4), "float32"),
        TensorSpec("scores", (1, 50), "float32"),
        TensorSpec("class_ids", (1, 50), "int32"),
    )
    session = onnxruntime.InferenceSession(canonical.path, providers=["CPUExecutionProvider"])
    found = [(v.name, tuple(v.shape), v.type) for v in session.get_outputs()]
    assert found == [
        ("boxes", (1, 50, 4), "tensor(float)"),
        ("scores", (1, 50), "tensor(float)"),
        ("class_ids", (1, 50), "tensor(int32)"),
    ]


def test_free_sizes_are_fixed_by_the_card(rewrite, frames):
    """A model with named or unknown axes gets the card's size."""
    model = NETWORKS["conv"]()
    for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim, "nchw", strict=True):
        if name != "c":
            dim.dim_param = name
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_param = "h"
    _, canonical = rewrite(model, card_for(Layout.NCHW))
    assert canonical.contract.outputs == (TensorSpec("values", (1, 2, SIZE, SIZE), "float32"),)
    assert run(canonical.path, {"frames": frames}).shape == (1, 2, SIZE, SIZE)


def test_the_same_model_gives_the_same_bytes(tmp_path, bright_spots):
    """Rewriting twice gives one and the same file."""
    card = read_card(bright_spots / "model.toml")
    one, two = (
        canonicalize(bright_spots / "model.onnx", card, centernet.HEAD, tmp_path / name).path
        for name in ("one.onnx", "two.onnx")
    )
    assert one.read_bytes() == two.read_bytes()


def test_the_foreign_file_is_left_alone(rewrite):
    """Weights are swapped in the copy, never in the person's file."""
    model = NETWORKS["conv"]()
    foreign, _ = rewrite(model, card_for(Layout.NCHW))
    assert onnx.load(foreign) == model


def test_what_no_output_needs_is_dropped(rewrite):
    """A branch that leads to no canonical output costs no time at run time."""
    model = NETWORKS["conv"]()
    model.graph.node.append(helper.make_node("Exp", ["y"], ["unused"]))
    model.graph.output.append(
        helper.make_tensor_value_info("unused", TensorProto.FLOAT, (1, 2, SIZE, SIZE))
    )
    _, canonical = rewrite(model, card_for(Layout.NCHW))
    assert "Exp" not in {node.op_type for node in onnx.load(canonical.path).graph.node}


def with_two_images():
    model = network([helper.make_node("Add", ["x", "x2"], ["y"])], Layout.NCHW, {}, channels_out=3)
    model.graph.input.append(helper.make_tensor_value_info("x2", TensorProto.FLOAT, CHANNELS_FIRST))
    return model


def with_another_opset(version):
    return network([conv()], Layout.NCHW, opset=version)


def in_half_precision():
    weights = {"kernel": KERNEL.astype(np.float16)}
    return network([conv()], Layout.NCHW, weights, dtype=TensorProto.FLOAT16)


def with_contradicting_shapes():
    add = helper.make_node("Add", ["x", "wrong"], ["y"])
    weights = {"wrong": np.zeros((1, 3, SIZE, 5), np.float32)}
    return network([add], Layout.NCHW, weights, channels_out=3)


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (with_two_images, r"expected one image input, got \['x', 'x2'\]", "only input"),
        (in_half_precision, "x: expected float32, got FLOAT16", "single precision"),
        (lambda: with_another_opset(24), "uses operator set 24, readable are 13 to 23", "opset 23"),
        (lambda: with_another_opset(11), "uses operator set 11, readable are 13 to 23", "opset 13"),
        (with_contradicting_shapes, "shapes contradict", "model.toml"),
    ],
)
def test_what_cannot_be_rewritten_is_refused(rewrite, make, message, hint):
    """A model outside the rules is refused in a sentence, with the way out (O-12)."""
    with pytest.raises(ModelError, match=message) as caught:
        rewrite(make(), card_for(Layout.NCHW))
    assert hint in caught.value.hint
    assert "\n" not in caught.value.sentence()


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (card_for(Layout.NHWC), r"input is \[1, 3, 16, 16\], the card says \[1, 16, 16, 3\]"),
        (
            replace(card_for(Layout.NCHW), input=InputCard(size_wh=(32, 16))),
            r"input is \[1, 3, 16, 16\], the card says \[1, 3, 16, 32\]",
        ),
    ],
)
def test_a_card_that_contradicts_the_file_is_refused(rewrite, card, message):
    """Another size or layout than the file declares is told with both."""
    with pytest.raises(ModelError, match=message) as caught:
        rewrite(NETWORKS["conv"](), card)
    assert "model.toml" in caught.value.hint


def test_a_flat_input_is_no_image(rewrite):
    """An input without an image's axes is refused."""
    model = model_of(
        [helper.make_node("Identity", ["x"], ["y"])],
        inputs={"x": (1, 768)},
        outputs={"y": (1, 768)},
        weights={},
    )
    with pytest.raises(ModelError, match="expected a 4-dimensional image input"):
        rewrite(model, card_for(Layout.NCHW))


def test_an_output_outside_the_contract_is_refused(rewrite):
    """A head that leaves another type than float32 or int32 is told by its output."""
    model = NETWORKS["conv"]()
    model.graph.node[0].output[0] = "z"
    model.graph.node.append(helper.make_node("Cast", ["z"], ["y"], to=TensorProto.DOUBLE))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    with pytest.raises(ModelError, match="canonical output values: DOUBLE is not in the contract"):
        rewrite(model, card_for(Layout.NCHW))
