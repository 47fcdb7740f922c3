"""Gradio is imported without what it does for people who write components."""

import subprocess
import sys

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
