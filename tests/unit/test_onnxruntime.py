"""What ONNX Runtime really computes with, read back from the file that it has optimized."""

import platform

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from appliance.runtimes.onnxruntime import computes, library
from tests.support.models import model_of

IMAGE = (1, 4, 8, 8)
RANDOM = np.random.default_rng(5)
KERNEL = RANDOM.normal(0, 0.2, (4, 4, 3, 3)).astype(np.float32)
TABLE = RANDOM.normal(0, 0.2, (8, 8)).astype(np.float32)
SCALES = {"scale": np.float32(0.1), "kernel_scale": np.full(4, 0.01, np.float32)}
ZEROS = {"zero": np.int8(0), "kernel_zero": np.zeros(4, np.int8)}
WHOLE = {"whole": (KERNEL * 100).astype(np.int8), **SCALES, **ZEROS}


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs, [output], **attributes)


def conv(source, weights, output):
    return node("Conv", [source, weights], output, pads=[1, 1, 1, 1])


def rounded(source, output):
    """Q/DQ around a tensor."""
    return (
        node("QuantizeLinear", [source, "scale", "zero"], f"{output}_q"),
        node("DequantizeLinear", [f"{output}_q", "scale", "zero"], output),
    )


RESTORED = node("DequantizeLinear", ["whole", "kernel_scale", "kernel_zero"], "kernel", axis=0)


@pytest.fixture
def optimized(tmp_path):
    """Makes a network of these nodes, as ONNX Runtime has optimized it for this processor."""

    def make(*nodes, dtype=TensorProto.FLOAT, **weights):
        model = model_of(
            nodes, inputs={"x": IMAGE}, outputs={"y": IMAGE}, weights=weights, dtype=dtype
        )
        onnx.save(model, tmp_path / "model.onnx")
        runtime = library()
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        providers = ["CPUExecutionProvider"]
        runtime.InferenceSession(tmp_path / "model.onnx", options, providers=providers)
        return tmp_path / "optimized.onnx"

    return make


def kinds_in(path):
    return {each.op_type for each in onnx.load(path).graph.node}


def test_single_precision(optimized):
    """Convolutions, fused ones as well, and products with weights."""
    nodes = [
        conv("x", "kernel", "a"),
        node("Relu", ["a"], "b"),
        node("MatMul", ["b", "table"], "c"),
        node("MatMul", ["c", "b"], "y"),  # of the picture with itself: no weights
    ]
    path = optimized(*nodes, kernel=KERNEL, table=TABLE)
    assert "FusedConv" in kinds_in(path)
    assert computes(path) == {"fp32": 2}


def test_half_precision_is_not_what_this_processor_computes(optimized):
    """On x86 a half-precision file is computed in single precision, and reads back as that."""
    nodes = [
        conv("x", "kernel", "a"),
        node("MatMul", ["a", "table"], "b"),
        node("MatMul", ["b", "a"], "y"),
    ]
    halves = {"kernel": KERNEL.astype(np.float16), "table": TABLE.astype(np.float16)}
    path = optimized(*nodes, dtype=TensorProto.FLOAT16, **halves)
    found = computes(path)
    assert sum(found.values()) == 2
    if platform.machine() == "x86_64":
        assert "Cast" in kinds_in(path)
        assert found == {"fp32": 2}


def test_half_precision_as_it_was_written(tmp_path):
    """Weights in half precision that nothing raises are computed with as they are."""
    nodes = [conv("x", "kernel", "a"), node("Relu", ["a"], "y")]
    weights = {"kernel": KERNEL.astype(np.float16)}
    model = model_of(
        nodes, inputs={"x": IMAGE}, outputs={"y": IMAGE}, weights=weights, dtype=TensorProto.FLOAT16
    )
    onnx.save(model, tmp_path / "model.onnx")
    assert computes(tmp_path / "model.onnx") == {"fp16": 1}


def test_whole_numbers(optimized):
    """A convolution with Q/DQ on all sides becomes one in int8, and reads back as that."""
    path = optimized(
        *rounded("x", "r"), RESTORED, conv("r", "kernel", "a"), *rounded("a", "y"), **WHOLE
    )
    assert "QLinearConv" in kinds_in(path)
    assert computes(path) == {"int8": 1}


def test_whole_numbers_that_were_lost(optimized):
    """Without Q/DQ behind it the convolution is computed in single precision, and says so."""
    path = optimized(*rounded("x", "r"), RESTORED, conv("r", "kernel", "y"), **WHOLE)
    assert "QLinearConv" not in kinds_in(path)
    assert computes(path) == {"fp32": 1}


def test_whole_weights_alone_are_no_whole_numbers(optimized):
    """Weights kept in int8 are a smaller file, not another arithmetic."""
    path = optimized(RESTORED, conv("x", "kernel", "y"), **WHOLE)
    assert computes(path) == {"fp32": 1}


def test_products_of_whole_numbers(optimized):
    """A matrix product with Q/DQ before it alone is computed in int8 by its own operator."""
    table = node("DequantizeLinear", ["whole", "scale", "zero"], "table")
    whole = {**WHOLE, "whole": (TABLE * 10).astype(np.int8)}
    path = optimized(*rounded("x", "r"), table, node("MatMul", ["r", "table"], "y"), **whole)
    assert "MatMulIntegerToFloat" in kinds_in(path)
    assert computes(path) == {"int8": 1}
