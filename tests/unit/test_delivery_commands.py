"""The commands of updates, as a person types them."""

import pytest

from appliance.app.delivering import model_files
from appliance.errors import ModelError
from appliance.settings import environment, load
from tests.support.bundles import Keys, members_of, write_parts
from tests.support.models import write_bright_spots
from tests.support.process import run


@pytest.fixture
def environ(tmp_path):
    """Folders of a maker, with one model of their own."""
    write_bright_spots(tmp_path / "state" / "models" / "spots")
    names = ("STATE", "CACHE")
    paths = {f"APPLIANCE_PATHS__{name}": str(tmp_path / name.lower()) for name in names}
    return {**environment(), **paths}


def test_a_bundle_is_made_and_told(environ, tmp_path):
    """With a model that the maker has; what is made is named with its size."""
    lock, wheels = write_parts(tmp_path, "0.2.0")
    keys, out = Keys.make(tmp_path / "keys"), tmp_path / "station.bundle"
    done = run(
        environ,
        *("bundle", f"--out={out}", f"--key={keys.private}", f"--requirements={lock}"),
        *(f"--wheels={wheels}", "--model=spots"),
    )
    assert done.returncode == 0, done.stderr
    assert "station.bundle: release 0.2.0 for " in done.stdout
    assert [name for name in members_of(out) if name.startswith("models/")] == [
        "models/spots/model.onnx",
        "models/spots/model.toml",
    ]


def test_a_bundle_without_its_key_ends_in_a_sentence_and_a_hint(environ, tmp_path):
    """And in no file."""
    lock, wheels = write_parts(tmp_path, "0.2.0")
    out = tmp_path / "station.bundle"
    done = run(
        environ,
        *("bundle", f"--out={out}", f"--key={tmp_path}/none.pem", f"--requirements={lock}"),
        f"--wheels={wheels}",
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: {tmp_path}/none.pem: No such file or directory",
        "  Make one by: openssl genpkey -algorithm ed25519 -out key.pem",
    ]
    assert not out.exists()


def test_a_model_that_is_not_here_does_not_travel(environ):
    """Nor one without weights."""
    with pytest.raises(ModelError, match="expected one of"):
        model_files(load(environ).settings.paths, ["nobody"])


def test_where_no_update_was_asked_for_that_is_said(environ, tmp_path):
    """With the folder to bring one to."""
    done = run(environ, "update", "last", f"--folder={tmp_path}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no update was ever asked for here" in done.stderr
