"""Engines on disk are whole, or they are not there."""

import os
import signal
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest

from appliance.errors import EngineError, StoreError
from appliance.optimizer.cache import REFUSAL, EngineCache
from appliance.optimizer.key import EngineKey
from appliance.optimizer.sidecar import SIDECAR, EngineFile, opened, sealed
from tests.support.fakes import CONTRACT
from tests.support.workshop import PROOF

KEY = EngineKey("bright-spots", "w", "c", "o", "tensorrt", "1.0", "auto", "x", "A GPU sm_86")


def store(cache, key=KEY, content=b"engine"):
    """Put a made-up engine into `cache`."""
    with cache.writing(key) as folder:
        (folder / "engine.onnx").write_bytes(content)
        return cache.commit(folder, EngineFile(folder / "engine.onnx", key, CONTRACT, PROOF))


def refuse(cache, key=KEY):
    """Let `cache` remember that there is no engine for `key`."""
    with cache.writing(key) as folder:
        cache.refuse(folder, key, EngineError("no kernel for Foo", hint="Set it to cpu."))


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_what_was_committed_is_found_again(tmp_path):
    """Key, contract and proof come back from the disk exactly as they were."""
    cache = EngineCache(tmp_path)
    made = store(cache)
    found = EngineCache(tmp_path).find(KEY)
    assert found == made
    assert (found.key, found.contract, found.verification) == (KEY, CONTRACT, PROOF)
    assert found.path.read_bytes() == b"engine"
    assert len(files_below(tmp_path)) == 2


@pytest.mark.parametrize("name", [field.name for field in fields(EngineKey)])
def test_everything_an_engine_depends_on_is_in_the_key(tmp_path, name):
    """Another model, card, library, precision or processor is another engine (O-23)."""
    cache = EngineCache(tmp_path)
    store(cache)
    other = replace(KEY, **{name: getattr(KEY, name) + "x"})
    assert other.digest() != KEY.digest()
    assert cache.find(other) is None
    store(cache, other)
    assert cache.find(KEY) is not None


def test_no_flipped_bit_in_a_sidecar_goes_unnoticed(tmp_path):
    """A sidecar with a flipped bit is not found, or says the very same (O-23)."""
    cache = EngineCache(tmp_path)
    made = store(cache)
    sidecar = made.path.with_name(SIDECAR)
    whole = sidecar.read_bytes()
    chance = np.random.default_rng(23)
    refused = 0
    for _ in range(300):
        place, bit = int(chance.integers(len(whole))), int(chance.integers(8))
        flipped = bytearray(whole)
        flipped[place] ^= 1 << bit
        sidecar.write_bytes(flipped)
        found = cache.find(KEY)
        assert found in (None, made)
        refused += found is None
    assert refused > 150
    sidecar.write_bytes(whole)
    assert cache.find(KEY) == made


@pytest.mark.parametrize("text", ["[]", "{}", "null", '"engine"', "7", "{", "\x00\xff"])
def test_a_sidecar_of_something_else_is_no_engine(tmp_path, text):
    """Any other content is a missing engine, never an exception."""
    cache = EngineCache(tmp_path)
    store(cache).path.with_name(SIDECAR).write_text(text, encoding="latin-1")
    assert cache.find(KEY) is None


def test_an_engine_of_an_earlier_release_is_built_again(tmp_path):
    """Its sidecar is of another form: it is listed and pruned as any, and serves nobody."""
    cache = EngineCache(tmp_path)
    earlier = store(cache, replace(KEY, rules="canonical 0")).path.with_name(SIDECAR)
    document = opened(earlier.read_text(encoding="utf-8"))
    key, proof = document["key"], document["verification"]
    key["code_sha256"] = key.pop("rules")
    figures = {name: each["value"] for name, each in proof.pop("figures").items()}
    proof = {**proof, **figures}
    del proof["summary"]
    old = {**document, "schema": 5, "key": key, "verification": proof, "refused": [proof]}
    earlier.write_text(sealed(old), encoding="utf-8")
    assert cache.find(KEY) is None
    assert list(cache.of_other_weights(replace(KEY, weights_sha256="other"))) == []
    assert [each.about for each in cache.stored()] == ["tensorrt 1.0 fp16, proven"]
    made = store(cache)
    assert len(cache.prune([KEY])) == 1
    assert cache.find(KEY) == made


def test_a_build_that_fails_leaves_nothing(tmp_path):
    """An error on the way removes what was written so far."""
    cache = EngineCache(tmp_path)

    def fail():
        with cache.writing(KEY) as folder:
            (folder / "engine.onnx").write_bytes(b"half")
            raise EngineError("planted")

    with pytest.raises(EngineError, match="planted"):
        fail()
    assert files_below(tmp_path) == []
    assert cache.find(KEY) is None


KILLED = """
import os, signal, sys
from pathlib import Path
from appliance.optimizer.cache import EngineCache
from appliance.optimizer.key import EngineKey
key = EngineKey(*sys.argv[2:])
with EngineCache(Path(sys.argv[1])).writing(key) as folder:
    (folder / "engine.onnx").write_bytes(b"half an engine")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_build_is_not_found_and_is_cleared(tmp_path):
    """What a build left that was killed is no engine, and the next build removes it (O-23)."""
    key_words = [getattr(KEY, field.name) for field in fields(KEY)]
    command = [sys.executable, "-c", KILLED, str(tmp_path), *key_words]
    ended = subprocess.run(command, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(files_below(tmp_path)) == 1
    cache = EngineCache(tmp_path)
    assert cache.find(KEY) is None
    store(cache)
    assert len(files_below(tmp_path)) == 2
    assert cache.find(KEY) is not None


def test_two_builds_at_once_leave_each_other_alone(tmp_path):
    """A build under way is not taken for one that was killed; the last one to commit stays."""
    cache = EngineCache(tmp_path)
    with cache.writing(KEY) as mine:
        (mine / "engine.onnx").write_bytes(b"mine")
        store(cache, content=b"theirs")
        assert cache.find(KEY).path.read_bytes() == b"theirs"
        cache.commit(mine, EngineFile(mine / "engine.onnx", KEY, CONTRACT, PROOF))
    assert cache.find(KEY).path.read_bytes() == b"mine"
    assert len(files_below(tmp_path)) == 2


def test_a_cache_that_cannot_be_written_says_which_variable_to_check(tmp_path):
    """A read-only or misplaced cache folder is an error with the setting's name (O-23)."""
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "engines", "/proc/engines"):
        cache = EngineCache(tmp_path / place)
        assert cache.find(KEY) is None
        with pytest.raises(StoreError, match="engine cache") as caught, cache.writing(KEY):
            pass
        assert "APPLIANCE_PATHS__CACHE" in caught.value.hint


def test_an_engine_is_set_aside_once(tmp_path):
    """What cannot be loaded is out of the way; its successor of the same key stays (O-23)."""
    cache = EngineCache(tmp_path)
    assert cache.set_aside(store(cache))
    assert cache.find(KEY) is None
    again = store(cache)
    assert not cache.set_aside(again)
    assert cache.find(KEY) == again
    other = replace(KEY, backend_version="2.0")
    assert cache.set_aside(store(cache, other))


def test_the_cache_tells_what_it_holds(tmp_path):
    """Engines, what was set aside and what is damaged, each with its size."""
    cache = EngineCache(tmp_path)
    store(cache)
    cache.set_aside(store(cache, replace(KEY, precision="fp16")))
    damaged = store(cache, replace(KEY, model="other"))
    damaged.path.with_name(SIDECAR).write_bytes(b"{")
    refuse(cache, replace(KEY, model="third"))
    with cache.writing(KEY):
        told = {(each.model, each.about) for each in cache.stored()}
    assert told == {
        ("bright-spots", "tensorrt 1.0 fp16, proven"),
        ("bright-spots", "could not be loaded, set aside"),
        ("other", "damaged, will be built again"),
        ("third", "no engine: no kernel for Foo"),
    }
    assert {each.size_bytes for each in cache.stored() if each.model == "other"} == {
        len(b"engine") + 1
    }


def test_pruning_leaves_what_is_in_use(tmp_path):
    """Engines of other keys go, and what was set aside; the one in use and builds stay."""
    cache = EngineCache(tmp_path)
    used = store(cache)
    store(cache, replace(KEY, rules="older"))
    cache.set_aside(store(cache, replace(KEY, backend_version="0.9")))
    refused = replace(KEY, model="refused")
    refuse(cache, refused)
    with cache.writing(KEY) as folder:
        gone = cache.prune([KEY, refused])
        assert folder.is_dir()
    assert len(gone) == 3
    assert cache.refusal(refused) is None
    assert [each.folder for each in cache.stored()] == [used.path.parent]
    assert cache.find(KEY) == used


def test_an_empty_cache_holds_nothing(tmp_path):
    """Before the first build there is no folder, and nothing to remove."""
    cache = EngineCache(tmp_path / "none")
    assert cache.stored() == []
    assert cache.prune([]) == []


def test_what_cannot_be_built_is_remembered(tmp_path):
    """The reason and the next step come back, for the very same key only; an engine ends it."""
    cache = EngineCache(tmp_path)
    assert cache.refusal(KEY) is None
    refuse(cache)
    found = EngineCache(tmp_path).refusal(KEY)
    assert (str(found), found.hint) == ("no kernel for Foo", "Set it to cpu.")
    assert cache.find(KEY) is None
    assert cache.refusal(replace(KEY, backend_version="2.0")) is None
    store(cache)
    assert cache.refusal(KEY) is None
    assert cache.find(KEY) is not None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", "\x00\xff"])
def test_a_damaged_refusal_is_none(tmp_path, text):
    """What cannot be read is tried again, and listed without a fuss."""
    cache = EngineCache(tmp_path)
    refuse(cache)
    (path,) = tmp_path.glob(f"*/*/{REFUSAL}")
    path.write_text(text, encoding="latin-1")
    assert cache.refusal(KEY) is None
    assert "damaged" in cache.stored()[0].about


def test_the_quota_takes_the_oldest_that_nobody_uses(tmp_path):
    """Engines in use stay, whatever they take; of the others the newest stay while they fit."""
    cache = EngineCache(tmp_path)
    keys = [replace(KEY, rules=str(age)) for age in range(4)]
    for age, key in enumerate(keys):
        made = store(cache, key, content=bytes(100_000))
        os.utime(made.path.parent, (1000 + age, 1000 + age))
    in_use = keys[0]
    gone = cache.keep_within(250_000, [in_use])
    assert [each.folder.name for each in gone] == [keys[1].digest(), keys[2].digest()]
    assert [cache.find(key) is not None for key in keys] == [True, False, False, True]
    assert cache.keep_within(250_000, [in_use]) == []
    assert len(cache.keep_within(1, [in_use])) == 1
    assert cache.find(in_use) is not None


def test_what_nobody_uses_goes_with_age(tmp_path):
    """Those in use stay however old they are, and so does what is not that old."""
    cache = EngineCache(tmp_path)
    keys = [replace(KEY, rules=str(age)) for age in range(3)]
    for age, key in enumerate(keys):
        made = store(cache, key, content=bytes(1000))
        os.utime(made.path.parent, (1000 + age, 1000 + age))
    gone = cache.forget(1002, [keys[0]])
    assert [each.folder.name for each in gone] == [keys[1].digest()]
    assert [cache.find(key) is not None for key in keys] == [True, False, True]
