"""Weights out of a PyTorch file, without PyTorch, and without running what the file names.

The file is the one that torch.save wrote before release 1.6: five pickles (a magic number, the
version, facts about the machine, the weights' descriptions, the keys of their storages), then each
storage as its length and its numbers. A pickle may name any function and have it called; here
nothing is found but what describes a tensor, and of that not PyTorch's own.
"""

import math
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from appliance.errors import ModelError

MAGIC: Final = 0x1950A86A20F9469CFC6C
PROTOCOL: Final = 1001
DTYPES: Final = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
DAMAGED: Final = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OverflowError,
    TypeError,
    ValueError,
)
HINT: Final = "pull the model again; the file is not the reviewed one"

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor that the file describes, before its numbers are read.

    Attributes:
        storage: key and type of the storage that holds its numbers.
        offset: of its first number in there.
        shape: of its axes.
        strides: from one number to the next along each axis, in numbers.
    """

    storage: tuple[str, np.dtype[Any]]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, storages: Mapping[str, Array]) -> Array:
        """The tensor itself, in memory of its own.

        Raises:
            ModelError: it reaches beyond its storage.
        """
        numbers = storages[self.storage[0]]
        steps = zip(self.shape, self.strides, strict=True)
        last = self.offset + sum((size - 1) * stride for size, stride in steps)
        is_inside = min(self.offset, *self.shape, *self.strides, 0) >= 0 and last < len(numbers)
        if not is_inside or math.prod(self.shape) > len(numbers):
            raise ModelError("weights: a tensor reaches beyond its storage", hint=HINT)
        strides = [stride * numbers.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides)
        return view.copy()


class _Describing(pickle.Unpickler):
    """Reads descriptions alone."""

    @override
    def find_class(self, module: str, name: str, /) -> Any:
        match module, name:
            case "collections", "OrderedDict":
                return OrderedDict
            case "torch._utils", "_rebuild_tensor_v2":
                return _tensor
            case "torch", _ if name in DTYPES:
                return DTYPES[name]
        named = repr(f"{module}.{name}")[:80]
        raise ModelError(f"weights: expected tensors alone, got {named}", hint=HINT)

    @override
    def persistent_load(self, pid: Any, /) -> tuple[str, np.dtype[Any]]:
        _, dtype, key, *_ = pid
        return key, dtype


def _tensor(
    storage: tuple[str, np.dtype[Any]],
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *_: object,
) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


def read_weights(path: Path) -> dict[str, Array]:
    """The tensors of a state dictionary, by name.

    Raises:
        ModelError: the file is another one, is damaged, or holds something else.
    """
    with path.open("rb") as file:
        try:
            if (_Describing(file).load(), _Describing(file).load()) != (MAGIC, PROTOCOL):
                raise ModelError(f"{path.name}: expected weights of PyTorch", hint=HINT)
            _Describing(file).load()
            described = _Describing(file).load()
            kinds = {tensor.storage[0]: tensor.storage[1] for tensor in described.values()}
            storages = {key: _storage(file, kinds[key]) for key in _Describing(file).load()}
            return {name: tensor.of(storages) for name, tensor in described.items()}
        except DAMAGED as error:
            raise ModelError(f"{path.name}: the file is damaged: {error}", hint=HINT) from error


def _storage(file: IO[bytes], dtype: np.dtype[Any]) -> Array:
    """The numbers of one storage, from where the file stands."""
    (count,) = np.frombuffer(file.read(8), "<i8")
    return np.frombuffer(file.read(int(count) * dtype.itemsize), dtype, int(count))
