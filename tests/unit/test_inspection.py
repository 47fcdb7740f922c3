"""What a foreign ONNX file says of itself, and what it may not do."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from appliance.catalog.inspection import TensorInfo, inspect_onnx
from appliance.errors import ModelError


def model(*, initializers=(), names=None, inputs=None, outputs=None):
    """A model of one node."""
    inputs = inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])]
    outputs = outputs or [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])]
    node = helper.make_node("Identity", [inputs[0].name], [outputs[0].name])
    graph = helper.make_graph([node], "g", inputs, outputs, list(initializers))
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="test"
    )
    if names is not None:
        helper.set_model_props(made, {"names": names})
    return made


def external(location, *, length=12):
    """A weight of three floats that lies in a side file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="length", value=str(length))
    return tensor


@pytest.fixture
def save(tmp_path):
    """Writes a model into a folder of its own and returns its path."""

    def write(made):
        path = tmp_path / "folder" / "model.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(made.SerializeToString())
        return path

    return write


def refusal(path):
    """What is said of the file at `path`."""
    with pytest.raises(ModelError) as caught:
        inspect_onnx(path)
    assert caught.value.hint
    assert "\n" not in caught.value.sentence()
    return str(caught.value)


def test_inputs_and_outputs_are_read_with_dtypes_and_shapes(save):
    """Every input's name, dtype and shape is known before the first frame (O-12)."""
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT16, ["batch", 3, None, 640]),
        helper.make_tensor_value_info("im_shape", TensorProto.UINT8, [1, 2]),
        helper.make_tensor_value_info("scale_factor", TensorProto.DOUBLE, []),
        helper.make_tensor_sequence_value_info("list", TensorProto.FLOAT, None),
        helper.make_tensor_value_info("any", TensorProto.INT64, None),
        helper.make_tensor_value_info("w", TensorProto.FLOAT, [3]),
    ]
    weight = numpy_helper.from_array(np.zeros(3, np.float32), "w")
    seen = inspect_onnx(save(model(inputs=inputs, initializers=[weight])))
    assert seen.inputs == (
        TensorInfo("image", "float16", ("batch", 3, None, 640)),
        TensorInfo("im_shape", "uint8", (1, 2)),
        TensorInfo("scale_factor", "float64", ()),
        TensorInfo("list", "sequence", None),
        TensorInfo("any", "int64", None),
    )
    assert seen.outputs == (TensorInfo("y", "float32", (1, 3)),)
    assert (seen.opset, seen.ir_version, seen.producer) == (17, 8, "test")


def test_the_digest_of_a_file_alone_is_the_usual_one(save):
    """A file without side files has the SHA-256 that any other tool shows."""
    path = save(model())
    seen = inspect_onnx(path)
    assert seen.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (seen.size_bytes, seen.side_files) == (path.stat().st_size, ())


def test_the_digest_covers_the_side_files(save):
    """A change in a side file changes the model's digest."""
    path = save(model(initializers=[external("weights.data")]))
    side = path.with_name("weights.data")
    side.write_bytes(b"0" * 12)
    before = inspect_onnx(path)
    side.write_bytes(b"1" * 12)
    after = inspect_onnx(path)
    assert before.side_files == after.side_files == (side,)
    assert before.size_bytes == path.stat().st_size + 12
    assert before.sha256 != after.sha256


@pytest.mark.parametrize(
    "location",
    [
        "../secret.bin",
        "a/../../secret.bin",
        "..\\secret.bin",
        "C:\\secret.bin",
        "/etc/hostname",
        "",
    ],
)
def test_a_side_file_outside_the_folder_is_refused(save, tmp_path, location):
    """A side file that is absolute or leaves the folder is refused, though it exists (O-13)."""
    (tmp_path / "secret.bin").write_bytes(b"0" * 12)
    path = save(model(initializers=[external(location)]))
    said = refusal(path)
    assert "inside the model's folder" in said
    assert repr(location) in said


def test_a_link_out_of_the_folder_is_refused(save, tmp_path):
    """A side file, or a folder on its way, that links to the outside is refused (O-13)."""
    (tmp_path / "secret.bin").write_bytes(b"0" * 12)
    path = save(model(initializers=[external("weights.data")]))
    path.with_name("weights.data").symlink_to(tmp_path / "secret.bin")
    assert "inside the model's folder" in refusal(path)
    path = save(model(initializers=[external("sub/secret.bin")]))
    path.with_name("sub").symlink_to(tmp_path)
    assert "inside the model's folder" in refusal(path)


def test_links_in_a_circle_are_refused(save):
    """Links that lead nowhere are refused like any other side file outside (O-13)."""
    path = save(model(initializers=[external("a")]))
    path.with_name("a").symlink_to(path.with_name("b"))
    path.with_name("b").symlink_to(path.with_name("a"))
    assert "side file" in refusal(path)


def test_a_link_inside_the_folder_is_followed(save):
    """Some mounts are made of links; one that stays inside is as good as a file (O-13)."""
    path = save(model(initializers=[external("weights.data")]))
    path.with_name("real.data").write_bytes(b"0" * 12)
    path.with_name("weights.data").symlink_to("real.data")
    assert len(inspect_onnx(path).side_files) == 1


def test_a_missing_side_file_is_named(save):
    """A missing side file is named in the message (O-13)."""
    said = refusal(save(model(initializers=[external("weights.data")])))
    assert said == "model.onnx: side file weights.data is missing"


def test_a_side_file_that_was_cut_short_is_named(save):
    """A side file shorter than the weights in it is refused at once, with both sizes (O-13)."""
    path = save(model(initializers=[external("weights.data", length=12)]))
    path.with_name("weights.data").write_bytes(b"0" * 11)
    assert "weights.data: expected at least 12 bytes, got 11" in refusal(path)


def test_side_files_have_a_largest_size(save):
    """Side files larger than the cap are refused before they are read (O-13)."""
    path = save(model(initializers=[external("weights.data")]))
    with path.with_name("weights.data").open("wb") as file:
        file.truncate(8 * 1024**3 + 1)  # sparse: takes no room
    assert "expected at most" in refusal(path)


@pytest.mark.parametrize("where", ["attribute", "subgraph", "function"])
def test_side_files_are_found_wherever_weights_may_be(save, where):
    """No place for weights escapes the check: attributes, subgraphs and functions (O-13)."""
    made = model()
    constant = helper.make_node("Constant", [], ["c"], value=external("../secret.bin"))
    if where == "attribute":
        made.graph.node.append(constant)
    elif where == "subgraph":
        inner = helper.make_graph([], "inner", [], [], [external("../secret.bin")])
        made.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=inner))
    else:
        opset = [helper.make_opsetid("", 17)]
        made.functions.append(helper.make_function("d", "f", [], ["c"], [constant], opset))
    assert "../secret.bin" in refusal(save(made))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (b"\n  <html></html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a Git LFS pointer"),
        (b"PK\x03\x04" + b"\0" * 40, "an archive or PyTorch checkpoint"),
        (b"", "not an ONNX model, or damaged"),
        (b"\0" * 100, "not an ONNX model, or damaged"),
        (b"Not Found", "not an ONNX model, or damaged"),
    ],
)
def test_another_file_under_the_name_of_onnx_is_told(tmp_path, data, expected):
    """A file that is no ONNX model is refused in one line that says what it is."""
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    assert expected in refusal(path)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_damaged_model_is_refused(save, share):
    """A model that was cut short is refused in one line, wherever the cut is."""
    weight = numpy_helper.from_array(np.ones(500, np.float32), "w")
    path = save(model(initializers=[weight]))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "damaged" in refusal(path)


def test_a_missing_model_and_a_pipe_are_refused(tmp_path):
    """A missing file is refused, and so is a pipe, which would be waited for."""
    assert "expected a file" in refusal(tmp_path / "model.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "expected a file" in refusal(tmp_path / "pipe.onnx")


@pytest.mark.parametrize(
    ("names", "expected", "warnings"),
    [
        (None, (), 0),
        ("", (), 0),
        ("{0: 'a', 1: \"b's\"}", ("a", "b's"), 0),
        ("open('trap', 'w')", (), 1),
    ],
)
def test_embedded_names_never_stop_a_model(save, names, expected, warnings):
    """Names in the metadata are read where they can be, and warned of where not (O-10)."""
    seen = inspect_onnx(save(model(names=names)))
    assert seen.names == expected
    assert len(seen.warnings) == warnings
    assert not Path("trap").exists()


@pytest.mark.parametrize("length", [1, 3])
def test_a_graph_that_leads_back_to_itself_is_read_to_an_end(save, length):
    """Operators that only move values, in a ring: nothing waits for the end of it."""
    names = [f"t{index}" for index in range(length)]
    nodes = [
        helper.make_node("Identity", [names[index - 1]], [name]) for index, name in enumerate(names)
    ]
    made = model()
    del made.graph.node[:], made.graph.output[:]
    made.graph.node.extend(nodes)
    made.graph.output.append(helper.make_tensor_value_info(names[0], TensorProto.FLOAT, [1, 3]))
    assert inspect_onnx(save(made)).ends in ({names[0]: "Identity"}, {names[0]: ""})
