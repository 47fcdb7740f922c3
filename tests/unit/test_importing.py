"""Gradio is imported without what it does for people who write components or show tables."""

import subprocess
import sys

import pytest

IMPORTED = """
import sys
opened = []
sys.addaudithook(lambda event, of: opened.append(str(of[0])) if event == "open" else None)
{how}
assert "gradio.component_meta" in sys.modules
import gradio as gr
with gr.Blocks(analytics_enabled=False):
    button = gr.Button("Save")
    button.click(lambda: None)
print(*(path for path in opened if path.endswith(".pyi")), sep="\\n")
"""
OURS = "from appliance.web.importing import import_gradio; import_gradio()"


def stubs_opened(how):
    """The stubs that a new process reads or writes, which uses a component afterwards."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED.format(how=how)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_no_stub_of_a_component_is_written_or_read():
    """Nothing beside the sources is touched, and components have their events all the same."""
    assert stubs_opened(OURS) == []


def test_gradio_by_itself_still_writes_stubs():
    """Once it does not any more, `appliance.web.importing` can go."""
    assert len(stubs_opened("import gradio")) > 50


TABLES = """
import sys
from appliance.web.importing import import_gradio
import_gradio()
import gradio as gr, gradio.caching
with gr.Blocks(analytics_enabled=False):
    gr.Button("Save")
assert "pandas" in sys.modules
assert "pandas.core" not in sys.modules, "loaded though nobody asked"
{how}
assert not hasattr(pandas, "nothing")
assert "pandas.core" in sys.modules
assert pandas.DataFrame({{"a": [1, 2]}})["a"].sum() == 3
assert isinstance(pandas.DataFrame(), gradio.caching.pd.DataFrame)
assert sys.modules["pandas"] is pandas
"""


@pytest.mark.parametrize(
    "how",
    [
        "import pandas",
        "from pandas import DataFrame; import pandas",
        "import pandas.io.formats; pandas = sys.modules['pandas']",
    ],
)
def test_pandas_is_loaded_once_somebody_asks_for_it(how):
    """Not by Gradio's import, nor by a page; by a name of it, or a part, in any form."""
    done = subprocess.run([sys.executable, "-c", TABLES.format(how=how)], check=False)
    assert done.returncode == 0
