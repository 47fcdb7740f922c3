"""The station's process carries only what it runs: rewriting models is the build's."""

import subprocess
import sys

SERVE = """
import sys
import appliance.app.serve
from appliance.web.tab import every_rule
every_rule()
from appliance.app.choices import backends
backends()
loaded = {name.partition(".")[0] for name in sys.modules}
print(*sorted(loaded & {"onnx_ir", "sympy", "gradio", "tensorrt", "tensorrt_rtx", "cuda"}))
print(*sorted(name for name in sys.modules if name.startswith("appliance.optimizer.heads")))
"""


def test_what_builds_engines_is_not_loaded_to_serve():
    """60 MB and a third of a second that no frame needs; the page's library comes later."""
    done = subprocess.run(
        [sys.executable, "-c", SERVE], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []
