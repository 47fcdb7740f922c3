"""Models as exporters write them: functions, side files, free axes, and what nothing here runs."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from typer.testing import CliRunner

from appliance import cli
from appliance.app import building
from appliance.errors import ModelError
from tests.support.models import bright_spots, write_bright_spots
from tests.support.process import station_environ
from tests.support.workshop import Workshop

PLAIN = helper.make_opsetid("", 17)
OWN = helper.make_opsetid("test.lib", 1)


@pytest.fixture
def build(tmp_path):
    """Builds a model under the tiny detector's card; words of the card can be exchanged."""

    def one(model, *changes, save=onnx.save):
        folder = tmp_path / "bright-spots"
        write_bright_spots(folder)
        card = (folder / "model.toml").read_text()
        for old, new in changes:
            assert old in card
            card = card.replace(old, new)
        (folder / "model.toml").write_text(card)
        save(model, folder / "model.onnx")
        return Workshop(tmp_path / "cache", folder).build()

    return one


def node_of(model, kind):
    return next(node for node in model.graph.node if node.op_type == kind)


def put_before(model, kind, *nodes, **weights):
    """Nodes that end in `cut` before the first of a kind."""
    at = list(model.graph.node).index(node_of(model, kind))
    model.graph.node[at].input[0] = "cut"
    for node in reversed(nodes):
        model.graph.node.insert(at, node)
    for name, value in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    return model


def with_functions(body=("Sigmoid", "")):
    """The detector, whose sigmoid is a function that calls another one."""
    model = bright_spots()
    kind, domain = body
    inner = helper.make_node(kind, ["x"], ["y"], domain=domain)
    outer = helper.make_node("inner", ["x"], ["y"], domain="test.lib")
    for name, node in (("inner", inner), ("outer", outer)):
        opsets = [PLAIN, OWN]
        function = helper.make_function("test.lib", name, ["x"], ["y"], [node], opsets)
        model.functions.append(function)
    model.opset_import.append(OWN)
    sigmoid = node_of(model, "Sigmoid")
    sigmoid.op_type, sigmoid.domain = "outer", "test.lib"
    return model


def free(model, names=("", "", "", "")):
    """The detector with an input of which no size is known, or only its name."""
    for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim, names, strict=True):
        dim.Clear()
        if name:
            dim.dim_param = name
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return model


def without_shape(model):
    model.graph.input[0].type.tensor_type.ClearField("shape")
    return model


def sized(model, axis, size):
    model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size
    return model


def replaced(kind, other, domain=""):
    model = bright_spots()
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    node = node_of(model, kind)
    node.op_type, node.domain = other, domain
    return model


def test_functions_in_the_file_are_written_out_first(build):
    """A head finds its sigmoid, though it lies two functions deep."""
    assert build(with_functions()).verification.verdict == "unproven"


def test_a_function_that_calls_itself_is_refused(build):
    """In a sentence, and not for ever."""
    with pytest.raises(ModelError, match="functions cannot be written out") as caught:
        build(with_functions(("inner", "test.lib")))
    assert "without functions" in caught.value.hint


def test_a_model_may_have_every_last_tensor_in_a_side_file(build):
    """Sizes and indexes as well, which ONNX Runtime looks for in the file itself."""
    cut = helper.make_node("Slice", ["logits", "from", "to", "axis"], ["cut"])
    weights = {"from": [0], "to": [2], "axis": [1]}

    def save(model, path):
        onnx.save(
            model,
            path,
            save_as_external_data=True,
            location="weights.bin",
            size_threshold=0,
            convert_attribute=True,
        )

    engine = build(put_before(bright_spots(), "Sigmoid", cut, **weights), save=save)
    assert engine.verification.verdict == "unproven"


@pytest.mark.parametrize("names", [("", "", "", ""), ("n", "h", "w", "c")], ids=["bare", "named"])
def test_free_axes_are_the_cards(build, names):
    """Channel-last too, where no axis says anything."""
    assert build(free(bright_spots(), names)).verification.verdict == "unproven"


def test_an_input_without_a_shape_is_the_cards(build):
    """Not even the number of axes is known."""
    assert build(without_shape(bright_spots())).verification.verdict == "unproven"


LAYOUT = ('layout = "nhwc"', 'layout = "nchw"')
SIZE = ("[64, 64]", "[96, 64]")


@pytest.mark.parametrize(
    ("model", "changes", "message", "hint"),
    [
        (
            replaced("Relu", "Fancy", "com.acme"),
            (),
            "no runtime here knows: com.acme.Fancy$",
            "own",
        ),
        (replaced("Relu", "Fancy"), (), "no runtime here knows: Fancy$", "own operators"),
        (sized(bright_spots(), 0, 4), (), r"\[4, 64, 64, 3\]", "4 pictures at once"),
        (sized(bright_spots(), 3, 1), (), r"\[1, 64, 64, 1\]", "this one takes 1: bring"),
        (bright_spots(), (LAYOUT,), r"\[1, 64, 64, 3\]", 'Set input.layout = "nhwc"'),
        (bright_spots(), (SIZE,), r"\[1, 64, 64, 3\]", r"Set input.size_wh = [64, 64]"),
        (free(bright_spots()), (LAYOUT,), "takes 3 channels and gets 64", "Correct input.layout"),
    ],
    ids=["operator", "unknown", "batch", "gray", "layout", "size", "free layout"],
)
def test_what_cannot_run_is_refused_with_what_helps(build, model, changes, message, hint):
    """The operator, the axis or the card's key; before anything is built."""
    with pytest.raises(ModelError, match=message) as caught:
        build(model, *changes)
    assert hint in caught.value.hint


def test_what_the_runtime_refuses_is_a_sentence_and_comes_before_the_build(build, tmp_path):
    """An operator of the runtime's own domain that it does not have: named, no traceback."""
    model = replaced("Relu", "Fancy", "com.microsoft")
    with pytest.raises(ModelError, match=r"no known size: com\.microsoft\.Fancy$"):
        build(model)
    shape = helper.make_tensor_value_info("lit", onnx.TensorProto.FLOAT, (1, 2, 64, 64))
    model.graph.value_info.append(shape)
    with pytest.raises(ModelError, match=r"ONNX Runtime cannot load the original: .*Fancy"):
        build(model)
    assert not list(tmp_path.glob("cache/*/*"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            ZeroDivisionError("of the code\nand more"),
            "unexpectedly: ZeroDivisionError: of the code",
        ),
        (MemoryError(), "the build found no memory"),
    ],
)
def test_the_reason_of_a_build_always_reaches_whoever_waits(monkeypatch, tmp_path, error, reason):
    """What nobody foresaw is told as a line of JSON too, and ends in no traceback."""

    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(building, "build_models", fail)
    monkeypatch.setattr(cli, "forget_foreign_variables", tuple)  # this process is not the station's
    monkeypatch.setattr(cli, "keep_files_private", lambda: None)  # it would outlast this test
    for name, value in station_environ(tmp_path).items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(cli.app, ["build", "--json"])
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["error"].endswith(reason)
    assert told["hint"]
    assert f"error: {told['error']}" in done.stderr
