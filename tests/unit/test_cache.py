"""Engines on disk are whole, or they are not there."""

import signal
import subprocess
import sys
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest

from appliance import tasks
from appliance.catalog.card import read_card
from appliance.engines import cpu
from appliance.errors import EngineError, ModelError, StoreError
from appliance.optimizer import heads
from appliance.optimizer.build import Optimizer
from appliance.optimizer.cache import SIDECAR, EngineCache, EngineFile, EngineKey
from appliance.optimizer.heads import Head
from appliance.optimizer.verification import Verification
from appliance.registry import plugins
from appliance.tasks import Task
from tests.support.fakes import CONTRACT
from tests.support.models import paint

KEY = EngineKey("bright-spots", "w", "c", "o", "onnxruntime", "1.0", "fp32", "x86_64")
PROOF = Verification("proven", 50, 120, 0.995, 0.25, 1 / 3, 0.01, 1e-7)


class Workshop:
    """An optimizer of the tiny detector that counts how often an engine is made."""

    def __init__(self, cache_dir, model_dir):
        self.made = 0
        self.folder = cache_dir
        self.cache = EngineCache(cache_dir)
        self.card = read_card(model_dir / "model.toml")
        self.weights = model_dir / "model.onnx"
        self.optimizer = Optimizer(
            cache=self.cache,
            heads=plugins(heads, "HEAD", Head),
            tasks=plugins(tasks, "TASK", Task),
            backend=Backend("onnxruntime", onnxruntime.version, self._load),
            threads=1,
        )

    def _load(self, *arguments):
        self.made += 1
        return cpu.ENGINE.load(*arguments)

    def build(self, frames=None):
        self.told = []
        return self.optimizer.build(
            self.card,
            self.weights,
            frames=frames,
            progress=lambda sentence, share: self.told.append((sentence, share)),
        )

    def find(self):
        return self.cache.find(self.optimizer.key(self.card, self.weights))


@pytest.fixture
def workshop(tmp_path, bright_spots):
    """A workshop with an empty cache."""
    return Workshop(tmp_path / "engines", bright_spots)


def store(cache, key=KEY, content=b"engine"):
    """Put a made-up engine into `cache`."""
    with cache.writing(key) as folder:
        (folder / "engine.onnx").write_bytes(content)
        return cache.commit(folder, EngineFile(folder / "engine.onnx", key, CONTRACT, PROOF))


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


@pytest.mark.parametrize("file", ["engine.onnx", SIDECAR])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda _data: b"",
        lambda data: bytes(len(data)),
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        lambda _data: None,
    ],
    ids=["truncated", "emptied", "zeroed", "bit flipped", "gone"],
)
def test_a_damaged_engine_is_built_anew(workshop, file, damage):
    """Whatever happened to engine or sidecar: it is not found, and one build heals it (O-23)."""
    made = workshop.build()
    path = made.path.with_name(file)
    damaged = damage(path.read_bytes())
    path.unlink()
    if damaged is not None:
        path.write_bytes(damaged)
    assert workshop.find() is None
    again = workshop.build()
    assert workshop.made == 2
    assert workshop.find() == again == made


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


def test_an_engine_from_the_cache_is_not_built_again(workshop):
    """The second start finds what the first has made."""
    first = workshop.build()
    assert workshop.build() == first
    assert workshop.made == 1


def test_an_unproven_engine_is_built_again_when_there_are_frames(workshop, tmp_path):
    """Frames that come later are used; a build from the cache needs none and stays as it is."""
    workshop.build()
    picture = tmp_path / "frame.png"
    assert cv2.imwrite(str(picture), paint([("red", 40, 40, 100, 100)]))
    found = workshop.build(frames=picture)
    assert workshop.made == 2
    assert (found.verification.frames, found.verification.references) == (1, 1)
    assert workshop.build() == found
    assert workshop.made == 2


def test_a_build_tells_how_far_it_is(workshop):
    """Each stage is told in words, the share never falls, and the end is reached."""
    workshop.build()
    sentences, shares = zip(*workshop.told, strict=True)
    assert all(sentences)
    assert list(shares) == sorted(shares)
    assert shares[-1] == 1


def test_an_unknown_head_is_told_with_those_that_there_are(workshop):
    """A card that names no known head is refused before anything is written."""
    workshop.card = replace(workshop.card, head="no_such_head")
    with pytest.raises(ModelError, match="no head no_such_head for detection") as caught:
        workshop.build()
    assert "centernet" in caught.value.hint
    assert not workshop.folder.exists()


def test_another_library_version_is_another_engine(workshop):
    """After an update of the runtime the engine is built once more (O-23)."""
    first = workshop.build()
    backend = replace(workshop.optimizer.backend, version=lambda: "99")
    workshop.optimizer = replace(workshop.optimizer, backend=backend)
    assert workshop.find() is None
    assert workshop.build().path != first.path
    assert workshop.made == 2


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
from appliance.optimizer.cache import EngineCache, EngineKey
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
    with cache.writing(KEY):
        told = {(each.model, each.about) for each in cache.stored()}
    assert told == {
        ("bright-spots", "onnxruntime 1.0 fp32, proven"),
        ("bright-spots", "could not be loaded, set aside"),
        ("other", "damaged, will be built again"),
    }
    assert {each.size_bytes for each in cache.stored() if each.model == "other"} == {
        len(b"engine") + 1
    }


def test_pruning_leaves_what_is_in_use(tmp_path):
    """Engines of other keys go, and what was set aside; the one in use and builds stay."""
    cache = EngineCache(tmp_path)
    used = store(cache)
    store(cache, replace(KEY, code_sha256="older"))
    cache.set_aside(store(cache, replace(KEY, backend_version="0.9")))
    with cache.writing(KEY) as folder:
        gone = cache.prune([KEY])
        assert folder.is_dir()
    assert len(gone) == 2
    assert [each.folder for each in cache.stored()] == [used.path.parent]
    assert cache.find(KEY) == used


def test_an_empty_cache_holds_nothing(tmp_path):
    """Before the first build there is no folder, and nothing to remove."""
    cache = EngineCache(tmp_path / "none")
    assert cache.stored() == []
    assert cache.prune([]) == []
