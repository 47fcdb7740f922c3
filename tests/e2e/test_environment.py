"""A station in an environment that is full of words for its libraries."""

import httpx
import pytest

from tests.support.cameras import MjpegServer, closed_port
from tests.support.process import seeing, started, station_environ

pytestmark = pytest.mark.slow

OF_EACH_START = {"app_id", "space_id"}
FOR_GRADIO = {
    "GRADIO_MCP_SERVER": "true",
    "GRADIO_VIBE_MODE": "1",
    "GRADIO_ROOT_PATH": "/x",
    "GRADIO_ALLOWED_PATHS": "/",
    "GRADIO_SSR_MODE": "true",
    "GRADIO_WATCH_DIRS": "/",
    "GRADIO_PROFILING": "1",
    "GRADIO_RUN_HISTORY": "true",
    "GRADIO_DEFAULT_CONCURRENCY_LIMIT": "nothing",
    "GRADIO_HEARTBEAT_INTERVAL": "nothing",
    "SYSTEM": "spaces",
    "SPACE_ID": "somebody/something",
    "OAUTH_CLIENT_ID": "x",
    "HF_TOKEN": "x",
    "FASTAPI_OTEL_AUTO_CONFIGURE": "1",
    "WEB_CONCURRENCY": "4",
    "FORWARDED_ALLOW_IPS": "*",
}


def page_of(station):
    """What Gradio's page is made of, without what each start makes up."""
    cookie = station.sign_in()
    with httpx.Client(headers={"Cookie": cookie}, timeout=30) as client:
        page = client.get(f"{station.url}/ui/")
        config = client.get(f"{station.url}/ui/config").json()
        routes = [
            client.get(f"{station.url}/ui/gradio_api/{path}").status_code
            for path in ("mcp/", "mcp/sse", "mcp/schema", "vibe-code/", "vibe-edit/", "file=/")
        ]
    assert page.status_code == 200
    config["root"] = config["root"].removeprefix(station.url)
    for component in config["components"]:
        component["props"].pop("value", None)  # what the station says at this moment
        component["props"].pop("delete_callback", None)  # with its place in memory
    return {key: value for key, value in config.items() if key not in OF_EACH_START}, routes


def test_no_variable_of_a_library_changes_the_page(tmp_path):
    """It is what it always is, at its own path; those for Gradio are named once, without values."""
    plain, odd = tmp_path / "plain", tmp_path / "odd"
    for folder in (plain, odd):
        folder.mkdir()
    with seeing(plain) as station:
        usual = page_of(station)
    with seeing(odd, **FOR_GRADIO) as station:
        assert page_of(station) == usual
        log = station.log.read_text()
    (line,) = [line for line in log.splitlines() if "GRADIO_" in line]
    assert all(name in line for name in FOR_GRADIO if name.startswith("GRADIO_"))
    assert "somebody" not in log
    assert "Traceback" not in log


def test_a_station_calls_its_cameras_past_the_companys_proxy(tmp_path):
    """FFmpeg itself reads these variables; and nothing writes the keys of a TLS connection."""
    with MjpegServer() as camera, closed_port() as port:
        names = ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy")
        proxies = dict.fromkeys(names, f"http://127.0.0.1:{port}")
        keys = tmp_path / "keys"
        environ = station_environ(
            tmp_path, APPLIANCE_CAMERAS__DOCK__URL=camera.url, SSLKEYLOGFILE=str(keys), **proxies
        )
        with started(environ, tmp_path / "log") as station:
            station.wait_until_ready()
            station.wait_until(lambda: station.ready().json()["health"] == "ready")
        assert not keys.exists()
