"""Heads turn a family's raw outputs into the canonical ones, inside the graph.

A head is one module with a constant HEAD. Its graph and its numpy twin state the same rule
twice; the twin is used by tests and verification only. Which exports each covers, and what the
card must say, is in docs/heads.md.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from appliance.catalog.card import Card
from appliance.catalog.inspection import Inspection, TensorInfo
from appliance.errors import ModelError

Tensors = Mapping[str, NDArray[Any]]

MASKED = -1.0e4  # a logit whose sigmoid is exactly 0 in fp32


@dataclass(frozen=True, slots=True)
class Head:
    """One family of exports.

    Attributes:
        name: as cards say it.
        task: whose canonical outputs it makes.
        match: whether a foreign graph (shapes inferred) ends as this family's do.
        build: appends the head to the foreign graph (shapes inferred) and returns the canonical
            outputs by name; raises ModelError when the outputs are not this family's.
        decode: the numpy twin: the foreign model's own outputs by name to the canonical ones, by
            what the file says of itself and not by how `build` reads its graph.
        classes: how many classes outputs of these shapes tell of; 0 where they do not. Raises
            ModelError when they are not this family's.
    """

    name: str
    task: str
    match: Callable[[ir.Model, Card], bool]
    build: Callable[[ir.Model, Card], Mapping[str, ir.Value]]
    decode: Callable[[Tensors, Card, Inspection], Tensors]
    classes: Callable[[Mapping[str, tuple[int, ...]], Card], int]


def class_count(head: Head, outputs: Iterable[TensorInfo], card: Card) -> int:
    """How many classes a foreign model's outputs tell of; 0 where they do not."""
    shapes = {
        output.name: tuple(size if isinstance(size, int) else 0 for size in output.shape or ())
        for output in outputs
    }
    # A free axis in front is the number of pictures, and the canonical graph takes one.
    single = {name: (shape[0] or 1, *shape[1:]) for name, shape in shapes.items() if shape}
    try:
        return head.classes(single, card)
    except ModelError:
        return 0  # other axes are free, too: only the graph with its inputs fixed tells
