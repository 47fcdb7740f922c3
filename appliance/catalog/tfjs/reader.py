"""Reads a TF.js graph model: its nodes in order, and its weights."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from appliance.errors import ModelError

Array: TypeAlias = NDArray[Any]  # float32 or int32
Json: TypeAlias = Mapping[str, Any]  # protobuf's JSON form: nested, untyped

HINT: Final = "the downloaded model is not the one that this recipe was written for"


@dataclass(frozen=True, slots=True)
class Node:
    """One TF node, with its attributes still in protobuf's JSON form."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Json

    @classmethod
    def read(cls, entry: Json) -> "Node":
        """From the JSON of one node; control inputs (^name) order nothing here."""
        inputs = tuple(i.split(":")[0] for i in entry.get("input", ()) if not i.startswith("^"))
        return cls(entry["name"], entry["op"], inputs, entry.get("attr", {}))

    def spatial(self, key: str) -> tuple[int, int]:
        """Height and width entries of an NHWC list such as strides."""
        values = [int(v) for v in self.attributes.get(key, {}).get("list", {}).get("i", [1] * 4)]
        return values[1], values[2]

    def text(self, key: str, default: str) -> str:
        """A byte string; TF.js writes them as base64."""
        value = self.attributes.get(key, {}).get("s")
        return default if value is None else base64.b64decode(value).decode("ascii")

    def texts(self, key: str) -> list[str]:
        """A list of byte strings."""
        values = self.attributes.get(key, {}).get("list", {}).get("s", ())
        return [base64.b64decode(value).decode("ascii") for value in values]

    def flag(self, key: str) -> bool:
        """A boolean, false where it is absent."""
        return bool(self.attributes.get(key, {}).get("b", False))

    def expect(self, what: str, *, expected: object, actual: object) -> None:
        """Refuse a node whose `what` this recipe would get wrong."""
        if expected != actual:
            raise ModelError(
                f"{self.op} {self.name}: {what}: expected {expected}, got {actual}", hint=HINT
            )


def needed(nodes: Mapping[str, Node], outputs: Iterable[str]) -> list[Node]:
    """The outputs and all that they depend on, inputs before users.

    Raises:
        ModelError: the graph lacks a node that an output depends on.
    """
    inputs: dict[str, tuple[str, ...]] = {}
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        if name not in nodes:
            raise ModelError(f"graph: expected a node {name}, got none", hint=HINT)
        if name not in inputs:
            inputs[name] = nodes[name].inputs
            waiting.extend(inputs[name])
    return [nodes[name] for name in TopologicalSorter(inputs).static_order()]


def read_weights(manifest: Sequence[Json], data: bytes) -> dict[str, Array]:
    """Every constant by name: float32 (stored as float16 or float32) or int32.

    Args:
        manifest: weightsManifest; names, shapes and types in the order of the bytes.
        data: the weight files' bytes, one after the other.

    Raises:
        ModelError: another weight type, or too few or too many bytes.
    """
    kinds = {"float32": "<f4", "float16": "<f2", "int32": "<i4"}
    constants: dict[str, Array] = {}
    offset = 0
    for weight in (weight for group in manifest for weight in group["weights"]):
        stored = weight.get("quantization", {}).get("dtype", weight["dtype"])
        if stored not in kinds:
            raise ModelError(
                f"weight {weight['name']}: expected {sorted(kinds)}, got {stored}", hint=HINT
            )
        dtype = np.dtype(kinds[stored])
        count = int(np.prod(weight["shape"], dtype=np.int64))
        if offset + count * dtype.itemsize > len(data):
            raise ModelError(
                f"weights: expected {weight['name']} at {offset}, got the file's end", hint=HINT
            )
        array = np.frombuffer(data, dtype, count, offset).reshape(weight["shape"])
        constants[weight["name"]] = array.astype(np.int32 if stored == "int32" else np.float32)
        offset += count * dtype.itemsize
    if offset != len(data):
        raise ModelError(f"weights: expected {offset} bytes, got {len(data)}", hint=HINT)
    return constants
