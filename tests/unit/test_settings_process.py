"""The process's own environment, and the documents made from the settings."""

import stat
import tempfile
from pathlib import Path

import pytest

from appliance.errors import StoreError
from appliance.settings import (
    Paths,
    begin_temporary,
    document,
    environment,
    load,
    old_names,
    prepare_process,
)
from appliance.settings.process import capture_options, forget_foreign_variables
from appliance.settings.variables import camera_variables, station_variables


@pytest.fixture
def paths(tmp_path):
    """Three folders that do not exist yet."""
    root = tmp_path / "deep"
    return Paths(state=root / "state", cache=root / "cache", temporary=root / "cache" / "tmp")


def test_the_environment_is_that_of_the_process(monkeypatch):
    """A copy: nobody changes the process by it."""
    monkeypatch.setenv("APPLIANCE_MODEL", "mine")
    assert environment()["APPLIANCE_MODEL"] == "mine"


def test_the_folders_are_made_for_this_user_alone(paths):
    """Pictures and engines are nobody else's business."""
    prepare_process(paths, environ={})
    for folder in (paths.state, paths.cache, paths.temporary):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    prepare_process(paths, environ={})  # and once more, at the next start


def test_libraries_write_into_the_folders_and_call_nobody(paths):
    """Nothing depends on a home folder, and nothing leaves the box."""
    environ = {"HF_HUB_OFFLINE": "0", "OPENCV_LOG_LEVEL": "DEBUG", "OPENCV_FFMPEG_LOGLEVEL": "40"}
    prepare_process(paths, environ=environ)
    for name in ("XDG_CACHE_HOME", "MPLCONFIGDIR", "CUDA_CACHE_PATH"):
        assert environ[name].startswith(str(paths.cache))
    assert environ["GRADIO_TEMP_DIR"].startswith(str(paths.temporary))
    assert environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert int(environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"]) > 1_000_000
    assert environ["HF_HUB_OFFLINE"] == "1"
    assert environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == capture_options()
    assert "OPENCV_FFMPEG_LOGLEVEL" not in environ
    assert environ["OPENCV_LOG_LEVEL"] == "DEBUG"  # the operator's own


def test_a_child_takes_over_what_the_station_has_set(paths):
    """A build warns of no variable that nobody but the station itself has set."""
    environ = {}
    prepare_process(paths, environ=environ)
    assert forget_foreign_variables(environ=environ) == ()


def test_an_operators_own_options_of_ffmpeg_win_one_by_one(paths):
    """To set one is not to give up the others, which keep a camera from leading elsewhere."""
    environ = {"OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_transport;udp|fflags;nobuffer"}
    prepare_process(paths, environ=environ)
    pairs = environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"].split("|")
    options = dict(pair.split(";") for pair in pairs)
    assert (options["rtsp_transport"], options["fflags"]) == ("udp", "nobuffer")
    assert options["max_redirects"] == "0"
    lists_of_addresses = {"hls", "applehttp", "dash", "concat", "sdp", "imf", "rtp", "webvtt"}
    assert not lists_of_addresses & set(options["format_whitelist"].split(","))
    assert capture_options("max_redirects;8").count("max_redirects") == 1
    assert "max_redirects;8" in capture_options("max_redirects;8")


def test_a_folder_that_cannot_be_written_names_its_variable(paths, tmp_path):
    """The hint helps a person who has no shell."""
    (tmp_path / "deep").write_text("a file in the way")
    with pytest.raises(StoreError) as caught:
        prepare_process(paths, environ={})
    assert "APPLIANCE_PATHS__STATE" in caught.value.hint


def test_the_documents_follow_the_settings(tmp_path):
    """`write` brings them up to date, and `stale` says when they are not."""
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{document.BEGIN}\noutdated\n{document.END}\n\nThe end.\n")
    assert document.stale(tmp_path) == ["README.md", ".env.example"]
    document.write(tmp_path)
    assert document.stale(tmp_path) == []
    text = readme.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("The end.\n")
    assert "outdated" not in text
    for variable in (*station_variables(), *camera_variables("<KEY>")):
        assert text.count(f"| `{variable.name}`") == 1
    (tmp_path / ".env.example").write_text("edited by hand")
    assert document.stale(tmp_path) == [".env.example"]


def test_a_readme_without_a_place_for_the_table_is_an_error(tmp_path):
    """Nothing is appended by guess."""
    (tmp_path / "README.md").write_text("# Title\n")
    with pytest.raises(StoreError, match="settings:begin"):
        document.write(tmp_path)


def test_the_example_file_can_be_used_as_it_is(tmp_path):
    """Every line that sets something is commented out, and works when it is not."""
    lines = document.env_example().splitlines()
    assert all(line.startswith("#") or not line for line in lines)
    assigned = dict(line[1:].split("=", 1) for line in lines if line.startswith("#APPLIANCE_"))
    every = (*station_variables(), *camera_variables("door"))
    old = {each.name for each in every if each.path[0] == old_names.SECTION}  # which nobody writes
    assert set(assigned) == {variable.name for variable in every} - old
    del assigned["APPLIANCE_AUTH__METRICS_TOKEN"]  # to be made up, not copied
    assigned["APPLIANCE_KIOSK__KEY"] = "0123456789abcdef" * 2  # as well
    settings = load(assigned, secrets_dir=tmp_path).settings
    assert settings.cameras["door"].name == "Front door"
    assert settings.auth.users[0].name == "alice"


def test_temporary_files_of_the_run_before_are_gone(paths, tmp_path, monkeypatch):
    """Each station empties a folder of its own there; what others keep beside it stays."""
    monkeypatch.setattr(tempfile, "tempdir", None)  # and is put back
    prepare_process(paths, environ={})

    def begun(state):
        environ = {}
        begin_temporary(paths.model_copy(update={"state": tmp_path / state}), environ=environ)
        assert tempfile.gettempdir() == environ["TMPDIR"]
        assert environ["GRADIO_TEMP_DIR"].startswith(environ["TMPDIR"])
        return Path(environ["TMPDIR"])

    one, other = begun("one"), begun("other")
    for folder in (one, other, paths.temporary):
        (folder / "left").write_text("x")
    assert begun("one") == one
    assert list(one.iterdir()) == []
    assert (other / "left").exists()
    assert (paths.temporary / "left").exists()
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (one, other)} == {0o700}
