"""Weights out of a PyTorch file: what is read, and that nothing in it is ever run."""

import os
import pickle
import struct
import sys
import types
from collections import OrderedDict

import numpy as np
import pytest

from appliance.catalog.pytorch import MAGIC, PROTOCOL, read_weights
from appliance.errors import ModelError


class Storage:
    """Stands for a storage; the pickler writes it as a persistent id."""

    def __init__(self, key, kind, array):
        self.key, self.kind, self.array = key, kind, np.asarray(array)


class Tensor:
    """Pickled as PyTorch pickles a tensor."""

    def __init__(self, storage, shape, strides, offset=0):
        self.parts = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.parts


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        kind = getattr(sys.modules["torch"], value.kind)
        return ("storage", kind, value.key, "cpu", value.array.size, None)


@pytest.fixture
def torch(monkeypatch):
    """The names that a file of PyTorch's holds, for the pickler to find."""
    package, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage", "HalfStorage"):
        setattr(package, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*_):
        raise AssertionError("never called")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = (
        "torch._utils",
        "_rebuild_tensor_v2",
    )
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    package._utils = utils
    monkeypatch.setitem(sys.modules, "torch", package)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


@pytest.fixture
def write(tmp_path, torch):  # noqa: ARG001 - its names are there for the pickler
    """Writes a state dictionary as torch.save did, and gives the file."""

    def written(state, storages, magic=MAGIC):
        path = tmp_path / "weights.pth"
        with path.open("wb") as file:
            for part in (magic, PROTOCOL, {"little_endian": True}):
                pickle.dump(part, file, protocol=2)
            Pickler(file, protocol=2).dump(state)
            pickle.dump([each.key for each in storages], file, protocol=2)
            for each in storages:
                file.write(struct.pack("<q", each.array.size) + each.array.tobytes())
        return path

    return written


def floats(key, count):
    return Storage(key, "FloatStorage", np.arange(count, dtype="<f4"))


def test_tensors_come_out_in_their_shapes_and_strides(write):
    """A tensor may lie in its storage in any order, as a transposed one does, and share it."""
    one, two = floats("1", 12), Storage("2", "LongStorage", np.array([7], "<i8"))
    state = OrderedDict(
        straight=Tensor(one, (3, 4), (4, 1)),
        turned=Tensor(one, (4, 3), (1, 4)),
        part=Tensor(one, (2,), (1,), offset=10),
        count=Tensor(two, (), ()),
    )
    found = read_weights(write(state, [one, two]))
    expected = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(found["straight"], expected)
    np.testing.assert_array_equal(found["turned"], expected.T)
    assert found["part"].tolist() == [10, 11]
    assert (found["count"].dtype, int(found["count"])) == (np.int64, 7)
    assert found["straight"].dtype == np.float32


class Command:
    """What a hostile file brings: a call of whatever it likes."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_file_that_names_a_function_is_refused_and_it_is_not_called(write, tmp_path):
    """A pickle can have anything called; here it is not even found."""
    mark = tmp_path / "mark"
    with pytest.raises(ModelError, match=r"expected tensors alone, got 'posix\.mkdir'"):
        read_weights(write(OrderedDict(x=Command(mark)), []))
    assert not mark.exists()


def test_the_first_part_of_a_file_is_read_with_the_same_care(tmp_path):
    """The magic number is a pickle as well."""
    path, mark = tmp_path / "weights.pth", tmp_path / "mark"
    path.write_bytes(pickle.dumps(Command(mark), protocol=2))
    with pytest.raises(ModelError, match="expected tensors alone"):
        read_weights(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((13,), (1,), 0),
        ((3, 4), (4, 2), 0),
        ((2,), (1,), 11),
        ((2,), (-1,), 4),
        ((2,), (1,), -1),
        ((9, 9), (0, 0), 0),
    ],
)
def test_a_tensor_that_reaches_beyond_its_storage_is_refused(write, shape, strides, offset):
    """Memory beside the numbers is never read."""
    one = floats("1", 12)
    with pytest.raises(ModelError, match="reaches beyond its storage"):
        read_weights(write(OrderedDict(x=Tensor(one, shape, strides, offset)), [one]))


def test_another_kind_of_numbers_is_refused(write):
    """What cannot be read is named."""
    one = Storage("1", "HalfStorage", np.zeros(2, np.float16))
    with pytest.raises(ModelError, match=r"torch\.HalfStorage"):
        read_weights(write(OrderedDict(x=Tensor(one, (2,), (1,))), [one]))


def test_another_file_is_refused(write, tmp_path):
    """A wrong number at the start, a text and a file that ends too soon are told as such."""
    one = floats("1", 12)
    state = OrderedDict(x=Tensor(one, (12,), (1,)))
    with pytest.raises(ModelError, match="expected weights of PyTorch"):
        read_weights(write(state, [one], magic=1))
    whole = write(state, [one]).read_bytes()
    path = tmp_path / "cut.pth"
    for cut in (0, 3, 100, len(whole) - 60, len(whole) - 4):
        path.write_bytes(whole[:cut])
        with pytest.raises(ModelError, match="the file is damaged"):
            read_weights(path)
    path.write_text("no weights at all")
    with pytest.raises(ModelError, match="the file is damaged"):
        read_weights(path)
