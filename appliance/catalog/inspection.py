"""Reads what an ONNX file says of itself. It parses and never proposes.

Nothing is loaded into a runtime, and no weights are read from side files: the file may
come from anyone.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
from google.protobuf.message import DecodeError

from appliance.catalog.cost import check_cost
from appliance.catalog.files import pieces
from appliance.catalog.labels import parse_names
from appliance.catalog.side_files import side_files
from appliance.errors import ModelError

# Operators that give the numbers of their first input as they are.
MOVING: Final = frozenset(
    {"Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)
MAX_FILE_BYTES: Final = 2 * 1024**3  # protobuf's own limit
DTYPE_NAMES: Final = {"FLOAT": "float32", "DOUBLE": "float64"}  # the others: in lower case
# What people really bring under the name of .onnx, by how it begins.
STRANGERS: Final = (
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the file itself, not its pointer"),
    (b"<", "a web page", "download the model itself, not the page that shows it"),
    (b"PK\x03\x04", "an archive or PyTorch checkpoint", "export the model to ONNX first"),
    (b"\x89HDF", "a Keras model", "export the model to ONNX first"),
)


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output.

    Attributes:
        name: as the graph calls it.
        dtype: "float32", "float16", "uint8", "int64" ..., or "sequence", "map" and the like.
        shape: sizes; a string where the size is a named variable, None where it is unknown.
            None as a whole where even the number of axes is unknown.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What an ONNX file says of itself.

    Attributes:
        path: the file.
        sha256: over the file and its side files, 64 hex digits; for a file alone it is the
            plain SHA-256 that other tools show.
        size_bytes: of the file and its side files.
        opset: version of ONNX's own operators; 0 where the model imports none.
        ir_version: of the file format.
        producer: name and version of the exporter, may be empty.
        inputs: without those that are weights.
        outputs: in the graph's order.
        names: class names in the metadata, by class id; empty where there are none.
        warnings: what a person should see, one sentence each.
        side_files: files with weights, all in the model's folder.
        ends: the operator that each output comes from, past those that only move values; empty
            where it is none of ONNX's own.
    """

    path: Path
    sha256: str
    size_bytes: int
    opset: int
    ir_version: int
    producer: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    names: tuple[str, ...]
    warnings: tuple[str, ...]
    side_files: tuple[Path, ...]
    ends: Mapping[str, str]


def inspect_onnx(path: Path) -> Inspection:
    """Inspect one ONNX file.

    Raises:
        ModelError: not an ONNX model, damaged, too large, or with weights in side files that
            are missing or lie outside its folder.
    """
    if not path.is_file():  # a pipe or device would be waited for
        raise ModelError(f"{path}: expected a file, got none", hint="bring the model's ONNX file")
    try:
        return _inspect(path)
    except OSError as error:
        raise ModelError(
            f"{error.filename or path}: cannot be read: {error.strerror}",
            hint="check the owner of the model's folder",
        ) from error


def _inspect(path: Path) -> Inspection:
    model = _parse(path)
    files = side_files(model, path)
    weights = {tensor.name for tensor in model.graph.initializer}
    versions = [known.version for known in model.opset_import if known.domain in {"", "ai.onnx"}]
    names, warnings = _names(model)
    return Inspection(
        path=path,
        sha256=_digest(path, files),
        size_bytes=sum(file.stat().st_size for file in (path, *files)),
        opset=max(versions, default=0),
        ir_version=model.ir_version,
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        inputs=_infos(value for value in model.graph.input if value.name not in weights),
        outputs=_infos(model.graph.output),
        names=names,
        warnings=warnings,
        side_files=files,
        ends=_ends(model.graph),
    )


def _parse(path: Path) -> onnx.ModelProto:
    size_bytes = path.stat().st_size
    if size_bytes > MAX_FILE_BYTES:
        raise ModelError(
            f"{path.name}: expected at most {MAX_FILE_BYTES} bytes, got {size_bytes}",
            hint="export the model with its weights in a side file",
        )
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    for beginning, what, hint in STRANGERS:
        if start.startswith(beginning):
            raise ModelError(f"{path.name}: expected an ONNX model, got {what}", hint=hint)
    check_cost(path)
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise _damaged(path) from error
    # Other bytes may pass for an empty message: a model has a version, nodes and outputs.
    if not (model.ir_version and model.graph.node and model.graph.output):
        raise _damaged(path)
    return model


def _damaged(path: Path) -> ModelError:
    return ModelError(
        f"{path.name}: not an ONNX model, or damaged", hint="export or copy the model again"
    )


def _names(model: onnx.ModelProto) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The embedded class names and warnings; names that cannot be read do not stop a model."""
    text = next((entry.value for entry in model.metadata_props if entry.key == "names"), "")
    if not text.strip():
        return (), ()
    try:
        return parse_names(text), ()
    except ModelError as error:
        return (), (error.sentence(),)


def _digest(path: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in (path, *files):
        if file is not path:  # the file's name is part of the model: its tensors point to it
            name = file.relative_to(path.parent.resolve()).as_posix()
            digest.update(f"\0{name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            for piece in pieces(stream):
                digest.update(piece)
    return digest.hexdigest()


def _ends(graph: onnx.GraphProto) -> dict[str, str]:
    makers = {output: node for node in graph.node for output in node.output}
    ends = {}
    for value in graph.output:
        node = makers.get(value.name)
        for _ in graph.node:  # no further: a damaged graph may lead back to itself
            if node is None or node.op_type not in MOVING or not node.input:
                break
            node = makers.get(node.input[0])
        is_own = node is not None and node.domain in {"", "ai.onnx"}
        ends[value.name] = node.op_type if node is not None and is_own else ""
    return ends


def _infos(values: Iterable[onnx.ValueInfoProto]) -> tuple[TensorInfo, ...]:
    return tuple(_info(value) for value in values)


def _info(value: onnx.ValueInfoProto) -> TensorInfo:
    kind = value.type.WhichOneof("value") or "unknown"
    if kind != "tensor_type":
        return TensorInfo(value.name, kind.removesuffix("_type"), None)
    tensor = value.type.tensor_type
    dtype = onnx.TensorProto.DataType.Name(tensor.elem_type)
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(_size(dim) for dim in tensor.shape.dim)
    return TensorInfo(value.name, DTYPE_NAMES.get(dtype, dtype.lower()), shape)


def _size(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value"):
        return dim.dim_value
    return dim.dim_param or None
