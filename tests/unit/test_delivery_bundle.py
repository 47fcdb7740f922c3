"""Bundles: what is in one, who may make one, and which is let in."""

import hashlib
import io
import json
import platform
import re
import subprocess
import tarfile
import types
from pathlib import Path

import pytest

from appliance.delivery.admission import Box, admit
from appliance.delivery.bundle import make_bundle
from appliance.delivery.manifest import BundleManifest, as_bytes
from appliance.delivery.signing import sign
from appliance.delivery.wheels import fetch_wheels, release_of
from appliance.errors import DeliveryError
from tests.support.bundles import (
    Keys,
    archive_of,
    members_of,
    openssl,
    write_bundle,
    write_parts,
    write_wheel,
)

ROOT = Path(__file__).parents[2]
HERE = Box.here("0.1.0", "0.1.0")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """The keys of a maker whom the box trusts."""
    return Keys.make(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A file that stands for a model's weights."""
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(b"weights" * 1000)
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, keys, model):
    """A bundle of release 0.2.0."""
    folder = tmp_path_factory.mktemp("bundle")
    return write_bundle(folder, keys, "0.2.0", models={"gate/model.onnx": model})


@pytest.fixture
def into(tmp_path):
    """An empty folder to unpack into."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    return folder


def let_in(stream, keys, into, box=HERE):
    """Judge a bundle as the box does."""
    return admit(stream, box, keys=keys.trusted, into=into)


def test_a_bundle_is_let_in_and_unpacked_as_it_was_made(bundle, keys, model, into):
    """Every file is there, byte for byte, and nothing else."""
    with bundle.open("rb") as stream:
        manifest = let_in(stream, keys, into)
    unpacked = {
        str(path.relative_to(into)): path.read_bytes() for path in into.rglob("*") if path.is_file()
    }
    content = members_of(bundle)
    assert [*content] == ["manifest.json", "manifest.sig", *(f.name for f in manifest.files)]
    assert unpacked == {n: c for n, c in content.items() if not n.startswith("manifest.")}
    assert unpacked["models/gate/model.onnx"] == model.read_bytes()
    assert manifest.version == "0.2.0"


def test_openssl_agrees_with_the_signature(bundle, keys, tmp_path):
    """Whoever does not trust this program verifies a bundle without it."""
    content = members_of(bundle)
    for name in ("manifest.json", "manifest.sig"):
        (tmp_path / name).write_bytes(content[name])
    said = openssl(
        *("pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(keys.trusted / "maker.pem")),
        *("-in", str(tmp_path / "manifest.json"), "-sigfile", str(tmp_path / "manifest.sig")),
    )
    assert "Verified Successfully" in said
    for each in json.loads(content["manifest.json"])["files"]:
        assert hashlib.sha256(content[each["name"]]).hexdigest() == each["sha256"]


def test_the_documented_commands_make_keys_and_verify_a_bundle(tmp_path):
    """The very lines of docs/operate.md, with a bundle that was signed by that key."""
    text = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    (making,) = [block for block in blocks if "openssl genpkey" in block]
    (checking,) = [block for block in blocks if "pkeyutl -verify" in block]
    subprocess.run(["sh", "-ec", making], cwd=tmp_path, check=True)
    keys = Keys(tmp_path / "key.pem", tmp_path)
    write_bundle(tmp_path, keys, "0.2.0").rename(tmp_path / "station.bundle")
    done = subprocess.run(
        ["sh", "-ec", checking], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "Verified Successfully" in done.stdout
    assert (tmp_path / "sbom.cdx.json").is_file()


def test_the_same_parts_make_the_same_bytes(bundle, keys, model, tmp_path):
    """So that a bundle can be made again and compared."""
    again = write_bundle(tmp_path, keys, "0.2.0", models={"gate/model.onnx": model})
    assert again.read_bytes() == bundle.read_bytes()


def test_the_list_of_parts_names_every_package_of_the_lock(bundle):
    """CycloneDX, with the release itself as what it is about."""
    # Two seconds of processor, which not every worker that collects has to spend.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    listed = json.loads(members_of(bundle)["sbom.cdx.json"])
    assert listed["bomFormat"] == "CycloneDX"
    assert [(each["name"], each["version"]) for each in listed["components"]] == [
        ("small-part", "1.0")
    ]
    text = json.dumps(listed)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    about = listed["metadata"]["component"]
    assert (about["name"], about["version"]) == ("vision-appliance", "0.2.0")


def test_a_wheel_that_is_not_the_locked_one_makes_no_bundle(tmp_path):
    """Its hash decides, whatever its name says."""
    lock, wheels = write_parts(tmp_path, "0.2.0")
    write_wheel(wheels, "small-part", "1.0", code="changed = True")
    with pytest.raises(DeliveryError, match=r"no wheel of small-part==1\.0"):
        release_of(lock, wheels)


def test_a_bundle_needs_the_appliances_own_wheel_once(tmp_path):
    """Neither none nor two."""
    lock, wheels = write_parts(tmp_path, "0.2.0")
    write_wheel(wheels, "vision-appliance", "0.3.0")
    with pytest.raises(DeliveryError, match="expected one wheel of vision-appliance, got 2"):
        release_of(lock, wheels)


def test_what_a_lock_wants_on_other_systems_is_not_asked_for(tmp_path):
    """A marker decides, as it does for pip."""
    lock, wheels = write_parts(tmp_path, "0.2.0")
    with lock.open("a") as file:
        file.write(f'other-part==1.0 ; sys_platform == "win32" --hash=sha256:{"0" * 64}\n')
    assert len(release_of(lock, wheels).wheels) == 2


@pytest.mark.parametrize("line", ["-r more.txt", "https://example.com/part.whl", "--pre"])
def test_a_lock_says_names_and_hashes_and_nothing_else(tmp_path, line):
    """What else a file of pip's may hold could not be proven on the box."""
    lock, wheels = write_parts(tmp_path, "0.2.0")
    lock.write_text(f"{line}\n")
    with pytest.raises(DeliveryError, match="expected NAME==VERSION"):
        release_of(lock, wheels)


def test_a_network_that_is_not_there_is_told(tmp_path, monkeypatch):
    """In pip's own words."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    lock, _ = write_parts(tmp_path, "0.2.0")
    with pytest.raises(DeliveryError, match=r"pip: .*small-part") as caught:
        fetch_wheels(lock, tmp_path, tmp_path / "into")
    assert caught.value.hint == "Is there a network?"


@pytest.mark.parametrize(
    "kind", [("rsa",), ("ed25519", "-aes256", "-pass", "pass:secret"), ("x25519",)]
)
def test_another_kind_of_key_signs_nothing(tmp_path, kind):
    """Nor does a locked one; the message says how to make a right one."""
    key = tmp_path / "key.pem"
    openssl("genpkey", "-algorithm", *kind, "-out", str(key))
    with pytest.raises(DeliveryError) as caught:
        sign(b"", key)
    assert "openssl genpkey" in caught.value.hint


@pytest.mark.parametrize("at", range(5))
def test_a_changed_byte_anywhere_is_found(bundle, keys, into, at):
    """In the manifest, the signature, and in whatever the manifest lists."""
    content = members_of(bundle)
    name = [*content][min(at, len(content) - 1)]
    changed = bytearray(content[name])
    changed[len(changed) // 2] ^= 1
    content[name] = bytes(changed)
    with pytest.raises(DeliveryError, match=r"not signed by a key|is not the file"):
        let_in(archive_of(*content.items()), keys, into)


def test_every_member_is_among_those_that_were_changed(bundle):
    """The test above leaves none out but the last, which has a test of its own."""
    assert [*members_of(bundle)][:5] == [
        "manifest.json",
        "manifest.sig",
        "requirements.txt",
        "sbom.cdx.json",
        "wheels/small_part-1.0-py3-none-any.whl",
    ]


def test_a_stranger_signs_in_vain(keys, into, tmp_path):
    """A sound bundle by another key is not unpacked at all."""
    stranger = Keys.make(tmp_path / "stranger")
    forged = write_bundle(tmp_path, stranger, "0.9.0")
    with forged.open("rb") as stream, pytest.raises(DeliveryError, match="not signed by a key"):
        let_in(stream, keys, into)
    assert [*into.iterdir()] == []


def test_one_of_several_trusted_keys_is_enough(bundle, keys, into, tmp_path):
    """So a maker can change keys: the new one is put beside the old one first."""
    other = Keys.make(tmp_path / "other")
    (other.trusted / "older.pem").write_bytes((keys.trusted / "maker.pem").read_bytes())
    with bundle.open("rb") as stream:
        assert let_in(stream, other, into).version == "0.2.0"


def test_nobody_is_trusted_by_default(bundle, into, tmp_path):
    """A box without keys takes nothing, and says where keys belong."""
    with bundle.open("rb") as stream, pytest.raises(DeliveryError, match="no key is trusted"):
        admit(stream, HERE, keys=tmp_path / "none", into=into)


def test_a_file_that_is_no_key_is_named(bundle, into):
    """Rather than passed over: it may be the one that was meant."""
    trusted = into.parent / "trusted"
    trusted.mkdir()
    (trusted / "a.pem").write_text("not a key")
    with bundle.open("rb") as stream, pytest.raises(DeliveryError, match=r"a\.pem: expected"):
        admit(stream, HERE, keys=trusted, into=into)


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        (Box("0.1.0", "riscv64", HERE.python, "0.1.0"), "and this box is riscv64"),
        (Box("0.1.0", HERE.machine, "3.9", "0.1.0"), r"with Python 3\.9"),
        (Box("0.2.0", HERE.machine, HERE.python, "0.2.0"), "runs already"),
        (Box("0.10.0", HERE.machine, HERE.python, "0.10.0"), r"0\.2\.0 is older than 0\.10\.0"),
        (Box("0.1.0", HERE.machine, HERE.python, "0.3.0"), r"0\.2\.0 is older than 0\.3\.0"),
    ],
)
def test_what_does_not_fit_the_box_is_refused(bundle, keys, into, box, problem):
    """Another machine, another Python, the same release, one that is older than any that ran."""
    with bundle.open("rb") as stream, pytest.raises(DeliveryError, match=problem):
        let_in(stream, keys, into, box)


def test_an_older_release_is_taken_where_its_maker_says_so(keys, into, tmp_path):
    """It is part of what is signed."""
    older = write_bundle(tmp_path, keys, "0.2.0", may_downgrade=True)
    newer = Box("0.10.0", HERE.machine, HERE.python, "0.10.0")
    with older.open("rb") as stream:
        assert let_in(stream, keys, into, newer).version == "0.2.0"


def test_a_full_disk_is_known_before_anything_is_written(bundle, keys, into, monkeypatch):
    """With how much room is needed."""
    usage = types.SimpleNamespace(free=10_000_000)
    monkeypatch.setattr("appliance.delivery.admission.shutil.disk_usage", lambda _: usage)
    with bundle.open("rb") as stream, pytest.raises(DeliveryError, match="10 MB free") as caught:
        let_in(stream, keys, into)
    assert "Make room" in caught.value.hint
    assert [*into.iterdir()] == []


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 0.6])
def test_a_bundle_that_is_cut_short_is_told_as_such(bundle, keys, into, share):
    """An empty one as well."""
    whole = bundle.read_bytes()
    short = whole[: int(len(whole) * share)]
    with pytest.raises(DeliveryError, match="cut short"):
        let_in(io.BytesIO(short), keys, into)


def entry(name, kind=tarfile.REGTYPE, target="", size=0):
    """A header of any kind."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, target, size
    return made


AFTER_THE_SIGNATURE = 2


@pytest.mark.parametrize(
    "intruder",
    [
        entry("../escaped"),
        entry("/escaped"),
        entry("extra.txt"),
        entry("requirements.txt", tarfile.SYMTYPE, "/etc/passwd"),
        entry("requirements.txt", tarfile.LNKTYPE, "/etc/passwd"),
        entry("requirements.txt", tarfile.CHRTYPE),
        entry("requirements.txt", tarfile.FIFOTYPE),
        entry("requirements.txt", tarfile.DIRTYPE),
        entry("requirements.txt", tarfile.XHDTYPE),
        entry("requirements.txt", tarfile.GNUTYPE_LONGNAME),
        entry("requirements.txt", tarfile.GNUTYPE_SPARSE),
        entry("requirements.txt", size=9_000_000),
    ],
    ids=lambda each: f"{each.name} {each.type!r} {each.size}",
)
@pytest.mark.parametrize("place", [0, AFTER_THE_SIGNATURE])
def test_a_hostile_member_is_refused_wherever_it_stands(bundle, keys, into, intruder, place):
    """Before the manifest and after it: paths, links, devices, bombs and what nobody listed."""
    members = [*members_of(bundle).items()]
    members.insert(place, (intruder, b""))
    before = sorted(into.parent.iterdir())
    with pytest.raises(DeliveryError):
        let_in(archive_of(*members), keys, into)
    assert all(path.is_file() and path.stat().st_size == 0 for path in into.iterdir())
    assert sorted(into.parent.iterdir()) == before


def test_nothing_may_follow_what_is_listed(bundle, keys, into):
    """Even behind the last file."""
    members = [*members_of(bundle).items(), ("extra.txt", b"more")]
    with pytest.raises(DeliveryError, match="more than its manifest lists"):
        let_in(archive_of(*members), keys, into)


def test_a_manifest_that_would_not_fit_into_memory_is_not_read(keys, into):
    """Its size is judged by its header."""
    header = entry("manifest.json", size=200_000_000).tobuf(tarfile.USTAR_FORMAT)
    with pytest.raises(DeliveryError, match="expected at most"):
        let_in(io.BytesIO(header), keys, into)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"product": "something-else"},
        {"version": "../../etc"},
        {"version": "1.0-final"},
        {"files": [{"name": "../escaped", "size_bytes": 1, "sha256": "0" * 64}]},
        {"files": [{"name": "/escaped", "size_bytes": 1, "sha256": "0" * 64}]},
        {"files": [{"name": "a", "size_bytes": -1, "sha256": "0" * 64}]},
        {"files": [{"name": "a", "size_bytes": 1, "sha256": "0" * 64}] * 2},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_manifest_is_not_believed_because_it_is_signed(keys, into, change):
    """Versions and names become paths, and a newer format says what this release cannot know."""
    python = HERE.python
    sound = BundleManifest(
        version="0.2.0",
        machine=platform.machine(),
        python=python,
        may_downgrade=False,
        installed_bytes=0,
        files=(),
    )
    document = json.dumps({**json.loads(as_bytes(sound)), **change}).encode()
    stream = archive_of(("manifest.json", document), ("manifest.sig", sign(document, keys.private)))
    with pytest.raises(DeliveryError, match=r"manifest\.json: "):
        let_in(stream, keys, into)


def test_a_bundle_that_cannot_be_written_leaves_nothing(keys, tmp_path):
    """Neither a part of it nor a partial file beside."""
    lock, wheels = write_parts(tmp_path / "parts", "0.2.0")
    out = tmp_path / "taken.bundle"
    out.mkdir()
    with pytest.raises(DeliveryError, match="taken"):
        make_bundle(out, release_of(lock, wheels), {}, key=keys.private)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts", "taken.bundle"]
