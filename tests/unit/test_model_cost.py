"""What a model's file takes to read is judged before it is read."""

import mmap
import subprocess
import sys
import time

import onnx
import pytest
from onnx import helper

from appliance.catalog import cost as cost_module
from appliance.catalog.cost import check_cost
from appliance.catalog.inspection import inspect_onnx
from appliance.errors import ModelError
from appliance.resources import Limit, Memory
from tests.support.bombs import crowds, huge_names, many_tiny_nodes, nested_ifs, write
from tests.support.models import bright_spots


@pytest.fixture
def room(monkeypatch):
    """Sets the memory that is free, in MB."""

    def have(free_mb):
        here = Memory(free_mb * 1_000_000, free_mb * 1_000_000, 10**11, Limit.GROUP)
        monkeypatch.setattr(cost_module, "memory", lambda: here)

    return have


def judged(path):
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return cost_module._cost(data, 1 << 50)


def test_an_honest_model_costs_some_times_its_size(tmp_path):
    """The file twice, and something for each node."""
    path = tmp_path / "model.onnx"
    write(path, bright_spots())
    assert 2 * path.stat().st_size < judged(path) < 10 * path.stat().st_size + 100_000
    check_cost(path)


def test_millions_of_tiny_nodes_are_refused_before_they_are_read(tmp_path):
    """40 MB that would be gigabytes in memory: neither the station nor the command takes them."""
    path = tmp_path / "model.onnx"
    write(path, many_tiny_nodes())
    started = time.process_time()
    with pytest.raises(ModelError, match="fields") as caught:
        inspect_onnx(path)
    assert caught.value.hint
    assert time.process_time() - started < 15


def test_what_does_not_fit_into_the_memory_is_refused_with_figures(tmp_path, room):
    """A box with less takes less."""
    path = tmp_path / "model.onnx"
    write(path, many_tiny_nodes(1_500_000))
    for free_mb in (50, 200):
        room(free_mb)
        with pytest.raises(ModelError, match=f"{free_mb // 2} MB are to be had"):
            check_cost(path)
    room(2000)
    check_cost(path)


TAKEN = """
import onnx, os, resource, sys
from appliance.catalog.side_files import tensors

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

for path in sys.argv[1:]:
    if os.fork() == 0:  # each in a process of its own, which has not read the others
        before = most()
        for _ in tensors(onnx.load(path, load_external_data=False)):
            pass
        print(most() - before, flush=True)
        os._exit(0)
    os.wait()
"""


def test_the_judgment_is_above_what_reading_really_takes(tmp_path):
    """Measured: messages without content, and numbers of a byte, read and looked through."""
    paths = {name: tmp_path / f"{name}.onnx" for name in crowds(1)}
    for name, data in crowds().items():
        write(paths[name], data)
    command = [sys.executable, "-c", TAKEN, *map(str, paths.values())]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    taken = dict(zip(paths, map(int, ran.stdout.split()), strict=True))
    assert {name: bytes_ for name, bytes_ in taken.items() if bytes_ > judged(paths[name])} == {}
    assert min(taken.values()) > 1_000_000


@pytest.mark.parametrize("made", [nested_ifs, huge_names])
def test_graphs_in_graphs_and_long_names_are_counted(tmp_path, made):
    """They are read, since they take little; each graph and each name is in the sum."""
    path = tmp_path / "model.onnx"
    write(path, made())
    assert judged(path) > 2 * path.stat().st_size
    assert inspect_onnx(path).outputs


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x3a",
        b"\x3a\xff",
        b"\x3a\xff\xff\xff\xff\x0f",
        b"\xff" * 50,
        b"\x3b\x0a",
        b"\x00\x01",
    ],
)
def test_bytes_that_are_no_model_end_in_the_usual_words(tmp_path, data):
    """The judgment reads past no end and loops for ever over none of them."""
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"not an ONNX model|damaged|more memory"):
        inspect_onnx(path)


def test_unknown_fields_count_as_the_worst(tmp_path):
    """What this code does not know may be many small messages."""
    model = bright_spots()
    path = tmp_path / "model.onnx"
    write(path, model)
    before = judged(path)
    helper.set_model_props(model, {"names": "x" * 10_000})
    onnx.save(model, path)
    assert judged(path) - before > 10_000 * cost_module.UNKNOWN / 2
