"""Engines of the TensorRT family on stand-ins for the library and for CUDA."""

import importlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.engines import Backend
from appliance.runtimes import BuildOptions, cuda, tensorrt
from appliance.runtimes.tensorrt.building import build_with
from tests.support.fake_cuda import FakeCuda
from tests.support.fake_tensorrt import FakeTensorRt

FAMILY = {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}  # libraries by backend


@dataclass(frozen=True)
class FakeGpu:
    """A backend whose library and GPU are stand-ins."""

    backend: Backend
    cuda: FakeCuda
    library: FakeTensorRt

    def build(self, canonical: Path, folder: Path) -> Path:
        """An engine's file, as the library's builder makes it."""
        return build_with(
            self.library, canonical, folder, BuildOptions(), lambda _what, _share: None
        )


def fake_gpu(name: str, monkeypatch: pytest.MonkeyPatch, **options) -> FakeGpu:
    """The backend `name` on stand-ins, as long as `monkeypatch` lasts."""
    fake = FakeCuda(**options)
    library = FakeTensorRt(fake, FAMILY[name])
    monkeypatch.setattr(cuda, "find", lambda: cuda.Cuda(fake))
    monkeypatch.setattr(tensorrt, "library", lambda _name: library)
    backend = importlib.import_module(f"appliance.engines.{name}").ENGINE
    return FakeGpu(backend, fake, library)
