"""Every canonical graph becomes an engine: built by TensorRT for RTX, which needs no GPU for it.

The nearest thing to a build on the box that a machine without a GPU has. It does not run them.
"""

import onnx
import pytest

from appliance.errors import EngineError, ModelError
from appliance.optimizer.precision import rewrite
from appliance.runtimes import BuildOptions
from appliance.runtimes.tensorrt import library, listener
from appliance.runtimes.tensorrt.building import PLAN_FILE, build_engine
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
    nms_inside,
)
from tests.support.heads import HEADS
from tests.support.networks import inspect_network

RTX = "tensorrt_rtx"
TYPES = {"uint8": "UINT8", "float32": "FLOAT", "int32": "INT32"}
# Convolutions and matrix products: all, in half precision, with Q/DQ.
PRODUCTS = {
    CENTERNET: (89, 86, 61),
    "fastestdet_coco_352.onnx": (70, 66, 39),
    "yolo11n_640_random_weights.onnx": (90, 82, 74),
    "yolox_nano_coco_416.onnx": (113, 103, 74),
}
ONNX_RUNTIME_ONLY = {
    "non-maximum suppression in the graph": (nms_inside, "suppress.* has no runners"),
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def weights_of(request, test_data):
    """Gives the weights of a detector, or skips."""
    return lambda name: (
        request.getfixturevalue("centernet") if name == CENTERNET else test_data(name)
    )


@pytest.fixture
def build(tmp_path):
    """Builds a canonical graph in a precision: the parsed network and the plan's bytes."""

    def make(canonical, precision, calibration=()):
        path = rewrite(canonical.path, precision, tmp_path / "rewritten.onnx", calibration)
        plan = build_engine(RTX, path, tmp_path, BuildOptions(), lambda _what, _share: None)
        assert plan == tmp_path / PLAN_FILE
        return inspect_network(RTX, path), plan.read_bytes()

    return make


def assert_is_engine(network, plan, contract):
    """Inputs and outputs are the contract's; the plan is one of this library's, and whole."""
    wanted = {
        spec.name: (TYPES[spec.dtype], spec.shape) for spec in (contract.input, *contract.outputs)
    }
    assert network.tensors == wanted
    head = {kind for name, kind in network.types.items() if "canonical/head/" in name}
    assert head <= {"FLOAT", "INT32", "INT64", "BOOL"}
    rtx = library(RTX)
    runtime = rtx.Runtime(listener(rtx))
    malformed = int(rtx.EngineInvalidityDiagnostics.MALFORMED_ENGINE)

    def is_malformed(header):
        return runtime.get_engine_validity(header)[1] & malformed != 0

    header = plan[: runtime.engine_header_size]
    assert len(plan) > len(header)
    assert not is_malformed(header)
    assert is_malformed(header[::-1])


@pytest.mark.parametrize(
    "name",
    [CENTERNET, *(pytest.param(it, marks=pytest.mark.long) for it in DETECTORS if it != CENTERNET)],
)
def test_a_detector_becomes_an_engine_in_every_precision(
    tmp_path, weights_of, test_data, build, name
):
    """The parser sees the precision that was written, in the body alone."""
    card = card_of(name, tmp_path)
    canonical = canonical_of(weights_of(name), card, tmp_path)
    total, halves, whole = PRODUCTS[name]
    narrow = {Precision.FP16: ("HALF", halves), Precision.INT8: ("INT8", whole)}
    for precision in Precision:
        frames = frames_of(test_data(CLIP), card, 2) if precision is Precision.INT8 else ()
        network, plan = build(canonical, precision, frames)
        assert_is_engine(network, plan, canonical.contract)
        kind, count = narrow.get(precision, ("FLOAT", total))
        assert network.products[kind] == count
        assert network.products.total() == total
        assert set(network.products) <= {kind, "FLOAT"}


def test_there_is_a_made_model_for_every_head():
    """A new head brings a model that ends in it, or it is never built here."""
    assert MADE.keys() == HEADS.keys()


FIRST = {head.task: name for name, head in sorted(HEADS.items(), reverse=True)}  # of each task


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in FIRST.values() else pytest.mark.long) for name in MADE],
)
def test_every_head_becomes_part_of_an_engine(tmp_path, build, name):
    """The parser and the builder take every operator that a head is made of."""
    model, card = made_model(name)
    onnx.save(model, tmp_path / "model.onnx")
    canonical = canonical_of(tmp_path / "model.onnx", card, tmp_path)
    for precision in (Precision.FP32, Precision.FP16):
        assert_is_engine(*build(canonical, precision), canonical.contract)


@pytest.mark.parametrize(("make", "reason"), ONNX_RUNTIME_ONLY.values(), ids=ONNX_RUNTIME_ONLY)
def test_what_only_onnx_runtime_runs_says_why(tmp_path, build, make, reason):
    """A graph that has no fixed shapes inside is refused with the operator's name, and a way out.

    `ONNX_RUNTIME_ONLY` is the whole list of what was found.
    """
    _, card = made_model("end_to_end")
    onnx.save(make(), tmp_path / "model.onnx")
    canonical = canonical_of(tmp_path / "model.onnx", card, tmp_path)
    with pytest.raises(EngineError, match=reason) as caught:
        build(canonical, Precision.FP32)
    assert "APPLIANCE_ENGINE__BACKEND=cuda or cpu" in caught.value.hint


def test_int8_without_pictures_is_refused(tmp_path, build):
    """The person is told where to put pictures."""
    model, card = made_model("centernet")
    onnx.save(model, tmp_path / "model.onnx")
    canonical = canonical_of(tmp_path / "model.onnx", card, tmp_path)
    with pytest.raises(ModelError, match="there are none") as caught:
        build(canonical, Precision.INT8)
    assert "models/<name>/verify" in caught.value.hint
