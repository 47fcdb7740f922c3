"""The stand-ins for CUDA and TensorRT have the names and arguments of the real modules."""

import enum
import inspect
import re

import pytest
import tensorrt_rtx
from cuda.bindings import runtime

from tests.support import fake_tensorrt
from tests.support.fake_cuda import FakeCuda
from tests.support.fake_tensorrt import FakeTensorRt

CALLS = {name: call for name, call in vars(FakeCuda).items() if name.startswith("cuda")}
CLASSES = {
    name: kind
    for name, kind in vars(fake_tensorrt).items()
    if inspect.isclass(kind) and kind.__module__ == fake_tensorrt.__name__
}
CLASSES = {name: kind for name, kind in CLASSES.items() if not name.startswith(("Fake", "Network"))}
ENUMS = {name: kind for name, kind in CLASSES.items() if issubclass(kind, enum.Enum)}
METHODS = [
    (name, method)
    for name, kind in CLASSES.items()
    if name not in ENUMS
    for method, value in vars(kind).items()
    if not method.startswith("_") and not inspect.isclass(value)
]


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if inspect.isfunction(call)])
def test_a_call_takes_and_gives_what_cudas_does(name):
    """The same arguments in the same order, and as many results behind the code."""
    real = getattr(runtime, name)
    takes = list(inspect.signature(CALLS[name]).parameters)[1:]
    assert takes == list(inspect.signature(real).parameters)
    results = inspect.signature(CALLS[name]).return_annotation
    documented = re.findall(r"^\w[\w.]* : ", real.__doc__.partition("Returns\n-------")[2], re.M)
    assert results == len(documented), documented


@pytest.mark.parametrize(
    "name", [name for name, call in CALLS.items() if not inspect.isfunction(call)]
)
def test_cudas_enums_and_flags_are_the_real_ones(name):
    """So that a value of another release cannot hide here."""
    assert CALLS[name] is getattr(runtime, name)


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_of_the_library_is_there(name):
    """Under the same name in the real module."""
    assert inspect.isclass(getattr(tensorrt_rtx, name))


@pytest.mark.parametrize(
    ("name", "member"), [(n, m.name) for n, kind in ENUMS.items() for m in kind]
)
def test_a_member_of_an_enum_is_there(name, member):
    """What the engines compare with exists."""
    assert member in getattr(tensorrt_rtx, name).__members__


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_a_method_takes_what_the_librarys_does(name, method):
    """The same names in the same order; what is left out has a default there."""
    given = inspect.getattr_static(CLASSES[name], method)
    real = getattr(getattr(tensorrt_rtx, name), method)
    if not inspect.isfunction(given):
        assert not callable(real) or isinstance(real, type(tensorrt_rtx.ILogger.ERROR)), real
        return
    takes = list(inspect.signature(given).parameters.values())[1:]
    overloads = re.findall(rf"{method}\(self: [^)]*\) -> ", real.__doc__)
    assert any(_fits(takes, overload) for overload in overloads), real.__doc__


def _fits(takes, overload):
    wanted = re.findall(r", (\w+): [^,=)]+(=[^,)]*)?", overload)
    names = [name for name, _ in wanted]
    defaults = [default for _, default in wanted[len(takes) :]]
    return [p.name for p in takes] == names[: len(takes)] and all(defaults)


def test_the_stand_in_is_a_module_to_whoever_uses_it():
    """A name and a release, as the real one has."""
    library = FakeTensorRt(FakeCuda(), "tensorrt_rtx")
    assert library.__name__ == tensorrt_rtx.__name__
    assert re.match(r"\d+\.\d+", library.__version__)
    assert re.match(r"\d+\.\d+", tensorrt_rtx.__version__)
