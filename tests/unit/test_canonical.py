"""Rewriting a foreign model: what it wants done to its input becomes part of the graph."""

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from appliance.catalog.card import Card, Channels, InputCard, Layout, read_card
from appliance.errors import ModelError
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.graph import producer
from appliance.optimizer.heads import Head, centernet
from appliance.optimizer.reference import Reference
from appliance.values import TensorSpec
from tests.support.heads import run as outputs_of
from tests.support.models import model_of

SIZE = 16
CHANNELS_FIRST, CHANNELS_LAST = (1, 3, SIZE, SIZE), (1, SIZE, SIZE, 3)
# Whole numbers, and powers of two for a deviation: every sum is exact in float32.
KERNEL = np.random.default_rng(1).integers(-4, 5, (2, 3, 3, 3)).astype(np.float32)
MEAN, STD = (120.0, 110.0, 100.0), (64.0, 32.0, 128.0)


def pass_on(model, _card):
    """A head that gives the foreign model's first output as it is."""
    return {"values": model.graph.outputs[0]}


PASS_ON = Head(
    "pass_on", "detection", lambda *_: True, pass_on, lambda outputs, *_: outputs, lambda *_: 0
)


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
FOLDED = {"conv", "transposed conv", "weights in a node"}


def layout_of(model):
    last = model.graph.input[0].type.tensor_type.shape.dim[3].dim_value
    return Layout.NHWC if last == 3 else Layout.NCHW


def run(path, feeds):
    return next(iter(outputs_of(path, feeds).values()))


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


def with_an_unknown_input():
    model = mean_of_the_picture()
    model.graph.input.append(helper.make_tensor_value_info("mood", TensorProto.FLOAT, (1, 2)))
    return model


def with_another_opset(version):
    return network([conv()], Layout.NCHW, opset=version)


def with_another_format(version):
    model = network([conv()], Layout.NCHW)
    model.ir_version = version
    return model


def in_double_precision():
    weights = {"kernel": KERNEL.astype(np.float64)}
    return network([conv()], Layout.NCHW, weights, dtype=TensorProto.DOUBLE)


def with_contradicting_shapes():
    add = helper.make_node("Add", ["x", "wrong"], ["y"])
    weights = {"wrong": np.zeros((1, 3, SIZE, 5), np.float32)}
    return network([add], Layout.NCHW, weights, channels_out=3)


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (
            with_two_images,
            r"expected one image input .*, got x float32 .*, x2 float32",
            "input.name",
        ),
        (with_an_unknown_input, r"input mood float32 \(1, 2\) is unknown", "only input"),
        (in_double_precision, "x: expected float32 or .*, got float64", "single precision"),
        (lambda: with_another_opset(25), "needs operator set 25, .* reads 9 to 23", "opset 23"),
        (lambda: with_another_opset(8), "needs operator set 8, .* reads 9 to 23", "opset 17"),
        (lambda: with_another_format(14), "file format 14, .* reads up to 13", "older release"),
        (with_contradicting_shapes, "shapes contradict", "model.toml"),
    ],
)
def test_what_cannot_be_rewritten_is_refused(rewrite, make, message, hint):
    """A model outside the rules is refused in a sentence, with the way out (O-12)."""
    with pytest.raises(ModelError, match=message) as caught:
        rewrite(make(), card_for(Layout.NCHW))
    assert hint in caught.value.hint
    assert "\n" not in caught.value.sentence()


def mean_of_the_picture(dtype=TensorProto.FLOAT, extras=()):
    """Gives the picture's mean as (1, 1, 1, 1), plus every extra input's sum."""
    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"]),
    ]
    last = "mean"
    for name in extras:
        nodes += [
            helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", [f"{name}_float"], [f"{name}_sum"]),
            helper.make_node("Add", [last, f"{name}_sum"], [f"with_{name}"]),
        ]
        last = f"with_{name}"
    nodes.append(helper.make_node("Cast", [last], ["y"], to=TensorProto.FLOAT))
    model = network(nodes, Layout.NCHW, {}, channels_out=3)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model.graph.input[0].type.tensor_type.elem_type = dtype
    for name, kind in dict(extras).items():
        model.graph.input.append(helper.make_tensor_value_info(name, kind, (1, 2)))
    return model


@pytest.mark.parametrize(
    "dtype", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT32]
)
@pytest.mark.parametrize("layout", Layout)
def test_every_input_type_gets_0_to_255(rewrite, dtype, layout):
    """A mid-gray picture is 128 to a model in half precision or in whole numbers (O-12)."""
    model = mean_of_the_picture(dtype)
    if layout is Layout.NHWC:
        for dim, size in zip(
            model.graph.input[0].type.tensor_type.shape.dim, CHANNELS_LAST, strict=True
        ):
            dim.dim_value = size
    card = card_for(layout)
    foreign, canonical = rewrite(model, card)
    gray = np.full(CHANNELS_LAST, 128, np.uint8)
    assert run(canonical.path, {"frames": gray}).item() == 128
    reference = Reference(foreign, card, PASS_ON, threads=1)
    assert reference.run(gray[0].astype(np.float32))["y"].item() == 128
    first = onnx.load(canonical.path).graph
    users = [node.op_type for node in first.node if "frames" in node.input]
    assert users == ["Cast"]  # engines take uint8 into nothing else


def test_scale_and_mean_reach_a_model_in_half_precision(rewrite):
    """The card's figures are applied in single precision, and only the result is lowered."""
    card = card_for(Layout.NCHW, mean=(127.0,) * 3, std=(128.0,) * 3)
    _, canonical = rewrite(mean_of_the_picture(TensorProto.FLOAT16), card)
    gray = np.full(CHANNELS_LAST, 191, np.uint8)
    assert run(canonical.path, {"frames": gray}).item() == 0.5


@pytest.mark.parametrize("dtype", [TensorProto.UINT8, TensorProto.INT32])
def test_whole_numbers_are_not_scaled(rewrite, dtype):
    """A scale into whole numbers would leave nothing of the picture: it is refused (O-12)."""
    with pytest.raises(ModelError, match="takes whole numbers") as caught:
        rewrite(mean_of_the_picture(dtype), card_for(Layout.NCHW, std=(255.0,) * 3))
    assert "model.toml" in caught.value.hint


def test_known_extra_inputs_become_constants(rewrite):
    """Sizes and scales are filled from the card; only the frame is left as an input (O-12)."""
    extras = {
        "im_shape": TensorProto.FLOAT,
        "scale_factor": TensorProto.FLOAT,
        "orig_target_sizes": TensorProto.INT64,
    }
    model = mean_of_the_picture(extras=extras)
    image = model.graph.input.pop(0)
    model.graph.input.append(image)  # not the first, as in some exports
    card = card_for(Layout.NCHW)
    foreign, canonical = rewrite(model, card)
    gray = np.full(CHANNELS_LAST, 128, np.uint8)
    expected = 128 + 2 * SIZE + 2 + 2 * SIZE
    assert [value.name for value in onnx.load(canonical.path).graph.input] == ["frames"]
    assert run(canonical.path, {"frames": gray}).item() == expected
    reference = Reference(foreign, card, PASS_ON, threads=1)
    assert reference.run(gray[0].astype(np.float32))["y"].item() == expected


@pytest.mark.parametrize("mean", [(0.0,) * 3, MEAN], ids=["no mean", "mean"])
@pytest.mark.parametrize("name", ["conv", "transposed conv"])
def test_a_scale_costs_nothing_where_it_can(rewrite, name, mean):
    """It goes into the first convolution; a mean does not, because of the border's zeros."""
    model = NETWORKS[name]()
    _, canonical = rewrite(model, card_for(layout_of(model), mean=mean, std=STD))
    added = {node.op_type for node in onnx.load(canonical.path).graph.node} - {"Conv", "Transpose"}
    assert added == ({"Cast", "Sub"} if any(mean) else {"Cast"})


@pytest.mark.parametrize("opset", [9, 11, 12])
def test_old_operator_sets_are_lifted(rewrite, frames, opset):
    """A model of an older set gives the same numbers, in a set the heads can be written in."""
    card = card_for(Layout.NCHW)
    foreign, canonical = rewrite(with_another_opset(opset), card)
    expected = as_the_authors_ran_it(foreign, frames, card)
    np.testing.assert_array_equal(run(canonical.path, {"frames": frames}), expected)
    assert onnx.load(canonical.path).opset_import[0].version == 17


def test_the_file_format_is_one_that_every_runtime_reads(rewrite):
    """However new the foreign file's format is, the canonical file's is the same."""
    for version in (8, 13):
        _, canonical = rewrite(with_another_format(version), card_for(Layout.NCHW))
        assert onnx.load(canonical.path).ir_version == 10


def test_weights_listed_among_the_inputs_are_no_inputs(rewrite, frames):
    """Old exporters list every weight as an input; the picture is still the only one."""
    model = network([conv()], Layout.NCHW)
    weights = helper.make_tensor_value_info("kernel", TensorProto.FLOAT, KERNEL.shape)
    model.graph.input.insert(0, weights)
    card = card_for(Layout.NCHW)
    foreign, canonical = rewrite(model, card)
    expected = as_the_authors_ran_it(foreign, frames, card)
    np.testing.assert_array_equal(run(canonical.path, {"frames": frames}), expected)
    assert [value.name for value in onnx.load(canonical.path).graph.input] == ["frames"]


def test_foreign_names_do_not_collide_with_the_contracts(rewrite, frames):
    """A foreign value may be called like a canonical input or output."""
    model = network(
        [conv(into="values"), helper.make_node("Mul", ["values", "frames"], ["y"])],
        Layout.NCHW,
        {"kernel": KERNEL, "frames": np.float32([2.0])},
    )
    card = card_for(Layout.NCHW)
    foreign, canonical = rewrite(model, card)
    expected = as_the_authors_ran_it(foreign, frames, card)
    np.testing.assert_array_equal(run(canonical.path, {"frames": frames}), expected)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "missing.data"])
def test_weights_outside_the_folder_are_not_read(tmp_path, location):
    """Nothing that a model names outside its own folder is opened on the way (O-13)."""
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(KERNEL.tobytes())
    model = network([conv()], Layout.NCHW)
    kernel = model.graph.initializer[0]
    kernel.ClearField("raw_data")
    kernel.data_location = TensorProto.EXTERNAL
    kernel.external_data.add(key="location", value=location)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="side file"):
        canonicalize(folder / "model.onnx", card_for(Layout.NCHW), PASS_ON, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_sizes_worked_out_in_the_graph_become_constants(rewrite, frames):
    """A chain of Shape, Gather and Slice is worked out once, at build time."""
    nodes = [
        conv(into="a"),
        helper.make_node("Shape", ["a"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["channels"]),
        helper.make_node("Div", ["channels", "two"], ["half"]),
        helper.make_node("Slice", ["a", "zero", "half", "one"], ["b"]),
        helper.make_node("Concat", ["b", "b"], ["y"], axis=1),
    ]
    weights = {"kernel": KERNEL, **{n: np.array([i]) for i, n in enumerate(["zero", "one", "two"])}}
    card = card_for(Layout.NCHW)
    foreign, canonical = rewrite(network(nodes, Layout.NCHW, weights), card)
    kinds = {node.op_type for node in onnx.load(canonical.path).graph.node}
    assert kinds == {"Cast", "Transpose", "Conv", "Slice", "Concat"}
    expected = as_the_authors_ran_it(foreign, frames, card)
    np.testing.assert_array_equal(run(canonical.path, {"frames": frames}), expected)


def test_a_size_that_only_the_file_knows_is_believed(rewrite):
    """Where inference cannot tell an output's size, what the exporter wrote holds."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Cast", ["top"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Mul", ["whole", "none"], ["nothing"]),
        helper.make_node("Add", ["nothing", "shape"], ["sizes"]),
        helper.make_node("Reshape", ["x", "sizes"], ["y"]),
    ]
    weights = {"none": np.int64([0]), "shape": np.int64(CHANNELS_FIRST)}
    _, canonical = rewrite(
        network(nodes, Layout.NCHW, weights, channels_out=3), card_for(Layout.NCHW)
    )
    assert canonical.contract.outputs == (TensorSpec("values", CHANNELS_FIRST, "float32"),)


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
    with pytest.raises(ModelError, match="expected one image input of 4 dimensions, got x float32"):
        rewrite(model, card_for(Layout.NCHW))


def test_an_output_outside_the_contract_is_refused(rewrite):
    """A head that leaves another type than float32 or int32 is told by its output."""
    model = NETWORKS["conv"]()
    model.graph.node[0].output[0] = "z"
    model.graph.node.append(helper.make_node("Cast", ["z"], ["y"], to=TensorProto.DOUBLE))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    with pytest.raises(ModelError, match="canonical output values: DOUBLE is not in the contract"):
        rewrite(model, card_for(Layout.NCHW))


def test_a_graph_that_leads_back_to_itself_ends_in_no_operator():
    """Whoever looks through operators that only pass values on comes to an end."""
    ring = ir.node("Identity", [ir.val("start")])
    ring.replace_input_with(0, ring.outputs[0])
    assert producer(ring.outputs[0], "Sigmoid") is None
