"""The tests for a machine with a GPU run where little is installed (`make test-gpu`)."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
MODULES = (
    "appliance.engines.cuda",
    "appliance.engines.rtx",
    "appliance.engines.tensorrt",
    "tests.conftest",
    "tests.contracts.test_cuda",
    "tests.contracts.test_engines",
)
INSTALLED = (
    "cuda-bindings",
    "loguru",
    "numpy",
    "onnx",
    "onnxruntime",
    "pydantic-settings",
    "pytest",
)
PROGRAM = """
import importlib, sys
blocked, modules = (set(part.split(",")) for part in sys.argv[1:])
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is not installed there", name=name)
sys.meta_path.insert(0, Blocker())
for module in sorted(modules):
    importlib.import_module(module)
"""


def closure(names):
    """These distributions and what they need."""
    found, left = set(), list(names)
    while left:
        name = canonicalize_name(left.pop())
        if name in found:
            continue
        found.add(name)
        needs = [Requirement(line) for line in metadata.requires(name) or ()]
        left += [r.name for r in needs if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def test_they_import_nothing_else():
    """Modules and support files, with everything blocked but what is named there."""
    there = closure(INSTALLED)
    blocked = {
        package
        for package, names in metadata.packages_distributions().items()
        if not there & {canonicalize_name(name) for name in names}
    } - {"appliance", "tests"}
    assert {"cv2", "gradio", "hypothesis", "onnx_ir", "psutil", "tensorrt_rtx"} <= blocked
    command = [sys.executable, "-c", PROGRAM, ",".join(blocked), ",".join(MODULES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
