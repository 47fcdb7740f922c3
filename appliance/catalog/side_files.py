"""A model's weights in files beside it: found and judged before anything opens them.

An ONNX file may say that its weights lie in "../../etc/shadow". Whatever loads, hashes or
copies a model goes through `side_files` first.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx

from appliance.catalog.files import MAX_MODEL_BYTES
from appliance.errors import ModelError


def side_files(model: onnx.ModelProto, path: Path) -> tuple[Path, ...]:
    """The files that hold weights of the model at `path`, each inside its folder, by name.

    Args:
        model: parsed without its external data.
        path: where the model lies.

    Raises:
        ModelError: a location is absolute, leaves the folder (by "..", or by a link), is
            missing or shorter than the model says, or all are larger than 8 GiB.
    """
    ends: dict[str, int] = {}
    for tensor in tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            location, end = _place(tensor)
            ends[location] = max(end, ends.get(location, 0))
    files = {location: _inside(path, location) for location in sorted(ends)}
    sizes_bytes = {location: file.stat().st_size for location, file in files.items()}
    for location, end in ends.items():
        if sizes_bytes[location] < end:
            raise ModelError(
                f"{path.name}: side file {location}: expected at least {end} bytes, "
                f"got {sizes_bytes[location]}",
                hint="copy the side file again; it was cut short",
            )
    if sum(sizes_bytes.values()) > MAX_MODEL_BYTES:
        raise ModelError(
            f"{path.name}: side files: expected at most {MAX_MODEL_BYTES} bytes in all, "
            f"got {sum(sizes_bytes.values())}",
            hint="use a smaller model, or export it in half precision",
        )
    return tuple(files.values())


def _place(tensor: onnx.TensorProto) -> tuple[str, int]:
    """Where the tensor's bytes lie: a location, and the byte that they end before."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    numbers = [entries.get(key) or "0" for key in ("offset", "length")]
    if not all(number.isdecimal() for number in numbers):
        raise ModelError(
            f"tensor {tensor.name}: expected offset and length as whole numbers, got {numbers}",
            hint="export the model again",
        )
    return entries.get("location", ""), sum(int(number) for number in numbers)


def _inside(path: Path, location: str) -> Path:
    """The side file, if it lies in the model's own folder."""
    refused = (
        not location
        or "\0" in location
        or PurePosixPath(location).is_absolute()
        or PureWindowsPath(location).anchor
        or ".." in PureWindowsPath(location).parts  # splits at / and \ alike
    )
    folder = path.parent.resolve()
    file = folder / location  # may be outside until judged; nothing has touched it yet
    if refused or not _stays(file, folder):
        raise ModelError(
            f"{path.name}: side file: expected a path inside the model's folder, got {location!r}",
            hint="export the model again with its weights beside it",
        )
    if not file.is_file():
        raise ModelError(
            f"{path.name}: side file {location} is missing",
            hint="bring the model together with the files that hold its weights",
        )
    return file


def _stays(file: Path, folder: Path) -> bool:
    """Whether the file lies in the folder after every link has been followed."""
    try:
        return file.resolve().is_relative_to(folder)
    except RuntimeError:  # links in a circle
        return False


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of the model: weights, attributes, subgraphs and functions."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield attribute.t
        yield from attribute.tensors  # one at a time, as all that follows: there may be millions
        for sparse in chain((attribute.sparse_tensor,), attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in chain((attribute.g,), attribute.graphs):
            yield from _graph_tensors(graph)
