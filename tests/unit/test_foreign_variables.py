"""What the environment says to libraries, and what of it a station lets through."""

import ast
import functools
import importlib.util
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.settings import Paths, environment, forget_foreign_variables, prepare_process
from appliance.settings.process import KEPT

ROOT = Path(__file__).parents[2]
READ_AS_WELL = {
    "PATH": "finds programs; a station runs none of Gradio's, since it renders no pages by Node",
    "NO_COLOR": "colors of a terminal",
    "SSL_CERT_FILE": "whose certificates are trusted",
    "SSL_CERT_DIR": "whose certificates are trusted",
    "GRADIO_ANALYTICS_ENABLED": "set by the station itself",
    "GRADIO_ANALYTICS_MAX_EVENTS": "set by the station itself",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "set by the station itself",
    "GRADIO_TEMP_DIR": "set by the station itself",
    "HF_HUB_DISABLE_TELEMETRY": "set by the station itself",
    "HF_HUB_OFFLINE": "set by the station itself",
    "DO_NOT_TRACK": "set by the station itself",
    "XDG_CACHE_HOME": "set by the station itself",
}
"""What is kept and is read by the libraries of the web, with the reason why it may be."""

WEB = ("gradio", "gradio_client", "hf_gradio", "huggingface_hub", "safehttpx", "groovy")
SERVER = ("fastapi", "httpx", "starlette", "uvicorn", "websockets")
READERS = {"os.environ.get", "os.getenv", "environ.get", "getenv", "os.environ.setdefault"}


def sources(package: str) -> Iterator[Path]:
    """Every module of an installed package."""
    found = importlib.util.find_spec(package)
    assert found is not None
    for folder in found.submodule_search_locations or ():
        yield from Path(folder).rglob("*.py")


def asked_for(tree: ast.AST) -> Iterator[str]:
    """The names of variables that a module reads, as far as it writes them out."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]) if (
                ast.unparse(function) in READERS
            ):
                yield name
            case ast.Subscript(value=value, slice=ast.Constant(value=str(name))) if ast.unparse(
                value
            ) in {"os.environ", "environ"}:
                yield name
            case ast.Compare(left=ast.Constant(value=str(name)), comparators=[value]) if (
                ast.unparse(value) in {"os.environ", "environ"}
            ):
                yield name


@functools.cache
def variables_of(package: str) -> frozenset[str]:
    """Those that its modules read."""
    texts = (path.read_text(encoding="utf-8") for path in sources(package))
    reading = (text for text in texts if "environ" in text or "getenv" in text)
    return frozenset(name for text in reading for name in asked_for(ast.parse(text)))


@pytest.mark.parametrize("package", [*WEB, *SERVER])
def test_no_variable_of_a_librarys_changes_anything(package):
    """Each that its code reads is forgotten, but for those with a reason."""
    environ = dict.fromkeys(variables_of(package), "1")
    forget_foreign_variables(environ=environ)
    assert set(environ) - set(READ_AS_WELL) == set()


def test_the_variables_of_gradio_are_found():
    """The search is worth something, and what it finds is gone."""
    found = variables_of("gradio") | variables_of("gradio_client")
    expected = {"GRADIO_MCP_SERVER", "GRADIO_VIBE_MODE", "GRADIO_ROOT_PATH", "SYSTEM", "SPACE_ID"}
    assert expected <= found
    assert len(found) > 50
    assert set(READ_AS_WELL) <= {name for each in (*WEB, *SERVER) for name in variables_of(each)}


def test_what_a_station_heeds_stays():
    """With its value; all else is named, in order."""
    kept = {
        *("APPLIANCE_MODEL", "PATH", "LC_TIME", "TZ", "PYTHONPATH", "LD_LIBRARY_PATH"),
        *("NOTIFY_SOCKET", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY"),
        *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "SSL_CERT_FILE"),
        *("OPENCV_FFMPEG_CAPTURE_OPTIONS", "OPENCV_LOG_LEVEL"),
    }
    gone = ("GRADIO_SHARE", "HTTPS_PROXY", "SSLKEYLOGFILE", "http_proxy", "PATHS")
    environ = dict.fromkeys((*kept, *gone), "x")
    assert forget_foreign_variables(environ=environ) == tuple(sorted(gone))
    assert environ == dict.fromkeys(kept, "x")


def test_no_spelling_of_a_proxy_stays():
    """Cameras are called directly, whatever the company's proxy is called."""
    names = ("http_proxy", "HTTPS_PROXY", "All_Proxy", "no_proxy", "ftp_proxy")
    assert set(forget_foreign_variables(environ=dict.fromkeys(names, "x"))) == set(names)


def test_what_is_kept_is_kept_for_a_process_that_a_station_starts(monkeypatch):
    """The process's own environment is what changes: a build is its child."""
    monkeypatch.setattr("os.environ", {"GRADIO_SHARE": "1", "APPLIANCE_MODEL": "mine"})
    forget_foreign_variables()
    assert environment() == {"APPLIANCE_MODEL": "mine"}


def test_the_document_lists_what_is_kept():
    """All that somebody may set; the rest is set by the station itself, whatever it was."""
    text = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    section = text.partition("## Variables that are no settings\n")[2].partition("\n## ")[0]
    told = set(re.findall(r"`([A-Z_]+\*?)`", section.partition("forget every one")[2]))
    environ = dict.fromkeys(KEPT, "of somebody")
    folders = dict.fromkeys(("state", "cache", "temporary"), Path(tempfile.gettempdir()))
    prepare_process(Paths(**folders), environ=environ)
    assert told - {"APPLIANCE_"} == {
        name for name, value in environ.items() if "of somebody" in value and name != "APPLIANCE_*"
    }


def test_no_name_is_kept_twice():
    """A list that people read."""
    assert len(KEPT) == len(set(KEPT))
