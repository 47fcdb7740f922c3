"""From a foreign model to an engine in the cache: what is built, verified, taken, remembered."""

import shutil
from dataclasses import replace

import cv2
import pytest

from appliance.engines import cpu
from appliance.errors import DeviceError, EngineError, ModelError
from appliance.optimizer.climbing import ladder
from appliance.optimizer.sidecar import REPORT, REPORT_FIGURES, SIDECAR, write_sidecar
from appliance.values import Precision
from tests.support.models import paint
from tests.support.videos import write_pictures
from tests.support.workshop import Workshop

FP32, FP16, INT8 = Precision


@pytest.fixture
def workshop(tmp_path, bright_spots):
    """A workshop with an empty cache."""
    return Workshop(tmp_path / "engines", bright_spots)


@pytest.fixture
def pictures(tmp_path):
    """A folder of frames, each with a red and a green square elsewhere."""
    folder = tmp_path / "pictures"
    write_pictures(folder, 60)
    return folder


def elsewhere(workshop, shipped=None):
    """A box with another device of the same kind, on the same cache."""
    other = replace(cpu.device(), serial="another")
    backend = replace(cpu.ENGINE, device=lambda: other)
    return Workshop(workshop.folder, workshop.model_dir, shipped=shipped, backend=backend)


def without_device(backend=cpu.ENGINE):
    def none():
        raise EngineError("no driver here", hint="Install one.")

    return replace(backend, device=none)


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
    assert len(workshop.built) == 2
    assert workshop.find() == again
    assert (again.key, again.contract) == (made.key, made.contract)


def test_an_engine_from_the_cache_is_not_built_again(workshop):
    """The second start finds what the first has made, and loads nothing to know it."""
    first = workshop.build()
    assert workshop.build() == first
    assert (len(workshop.built), workshop.loaded) == (1, 1)


def test_an_unproven_engine_is_compared_again_when_there_are_frames(workshop, tmp_path):
    """Frames that come later are used; the engine itself is not built again for them."""
    workshop.build()
    picture = tmp_path / "frame.png"
    assert cv2.imwrite(str(picture), paint([("red", 40, 40, 100, 100)]))
    found = workshop.build(frames=picture)
    assert (len(workshop.built), workshop.loaded) == (1, 2)
    assert (found.verification.frames, found.verification.figures["references"].value) == (1, 1)
    assert workshop.build() == found
    assert workshop.loaded == 2


@pytest.mark.slow
def test_a_proven_engine_is_not_compared_again(workshop, pictures):
    """What was proven on this device stays so, frames or not."""
    proven = workshop.build(frames=pictures)
    assert proven.verification.verdict == "proven"
    assert workshop.build(frames=pictures) == proven
    assert workshop.loaded == 1


def test_a_build_tells_how_far_it_is(workshop):
    """Each stage is told in words, the share never falls, and the end is reached."""
    workshop.build()
    assert all(sentence for sentence, _ in workshop.told)
    shares = [share for _, share in workshop.told if share is not None]
    assert shares == sorted(shares)
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
    workshop.backend = replace(workshop.backend, version=lambda: "99")
    assert workshop.find() is None
    assert workshop.build().path != first.path
    assert len(workshop.built) == 2


def test_other_limits_are_another_proof(workshop):
    """What was judged by looser limits does not serve under tighter ones."""
    key = workshop.shelf.key(workshop.card, workshop.weights, workshop.backend)
    wishes = workshop.shelf.wishes
    tighter = {**wishes.limits, FP32: {**wishes.limits[FP32], "f1": 0.999}}
    other = replace(workshop.shelf, wishes=replace(wishes, limits=tighter))
    assert other.key(workshop.card, workshop.weights, workshop.backend) != key


def test_limits_of_another_task_are_nobodys_business(workshop):
    """A detector's proof stands, whatever is asked of classifiers."""
    key = workshop.shelf.key(workshop.card, workshop.weights, workshop.backend)
    wishes = workshop.shelf.wishes
    tighter = {each: {**limits, "top1": 1.0} for each, limits in wishes.limits.items()}
    other = replace(workshop.shelf, wishes=replace(wishes, limits=tighter))
    assert other.key(workshop.card, workshop.weights, workshop.backend) == key


def test_what_a_card_says_for_people_and_of_what_counts_is_in_no_key(workshop):
    """Nobody waits for an engine to be built again because a title or a threshold was changed."""
    key = workshop.shelf.key(workshop.card, workshop.weights, workshop.backend)
    card = replace(workshop.card, title="Other words", license="BSD", source="elsewhere")
    shown = replace(card, table=replace(card.table, confidence=0.7))
    assert workshop.shelf.key(shown, workshop.weights, workshop.backend) == key
    judged = replace(card, table=replace(card.table, iou=0.7))
    assert workshop.shelf.key(judged, workshop.weights, workshop.backend) != key


def test_beside_the_engine_lies_its_report_and_nothing_else(workshop):
    """Engine, sidecar, and the report for people and for programs."""
    made = workshop.build()
    names = {path.name for path in made.path.parent.iterdir()}
    assert names == {"engine.onnx", SIDECAR, REPORT, REPORT_FIGURES}
    report = workshop.cache.report(made.key)
    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_an_engine_from_another_device_is_verified_before_it_serves(workshop):
    """A proof holds for the device it was made on: elsewhere it is compared, not built again."""
    assert workshop.build().verification.device
    here = elsewhere(workshop)
    key = here.shelf.key(here.card, here.weights, here.backend)
    assert here.shelf.ready(key, here.backend) is None
    verified = here.build()
    assert verified.verification.device == "another"
    assert (here.built, here.loaded) == ([], 1)
    assert here.shelf.ready(key, here.backend) == verified


def test_a_shipped_engine_is_taken_once_it_was_verified(workshop, tmp_path):
    """From a folder that stays as it is into the cache, with a proof of this device."""
    workshop.build()
    here = elsewhere(workshop, shipped=workshop.folder.rename(tmp_path / "shipped"))
    taken = here.build()
    assert taken.path.is_relative_to(here.folder)
    assert taken.verification.device == "another"
    assert here.built == []


def test_a_shipped_engine_that_sees_something_else_is_not_taken(workshop, tmp_path):
    """Whatever its sidecar says: it is refused on this device, and one is built here."""
    made = workshop.build()
    swapped = Workshop(tmp_path / "swapped", workshop.model_dir)
    swapped.card = replace(workshop.card, input=replace(workshop.card.input, channels="bgr"))
    shutil.copy(swapped.build().path, made.path)
    write_sidecar(made)
    assert workshop.find() is not None
    here = elsewhere(workshop, shipped=workshop.folder.rename(tmp_path / "shipped"))
    taken = here.build()
    assert here.built == ["fp32"]
    assert taken.verification.device == "another"
    assert taken.verification.figures["row_score"].value < 0.01


def test_without_a_device_an_engine_is_built_and_serves_nobody(tmp_path, bright_spots):
    """It is marked as unverified; where its device is, it is verified and serves."""
    desk = Workshop(tmp_path / "engines", bright_spots, backend=without_device())
    made = desk.build()
    assert made.verification.verdict == "unverified"
    assert desk.loaded == 0
    assert desk.shelf.ready(made.key, desk.backend) is None
    assert desk.build() == made
    assert len(desk.built) == 1
    box = Workshop(tmp_path / "engines", bright_spots)
    assert box.shelf.ready(made.key, box.backend) is None
    verified = box.build()
    assert verified.key == made.key
    assert verified.verification.verdict == "unproven"
    assert box.built == []
    assert box.shelf.ready(made.key, box.backend) == verified


def test_the_ladder_goes_from_what_was_asked_to_wider_ones():
    """A GPU's auto tries half precision first, a processor's does not; fp32 is always the end."""
    gpu = replace(cpu.ENGINE, rungs=(FP16, FP32))
    assert ladder("auto", cpu.ENGINE) == (FP32,)
    assert ladder("auto", gpu) == (FP16, FP32)
    assert ladder("int8", gpu) == (INT8, FP16, FP32)
    assert ladder("int8", cpu.ENGINE) == (INT8, FP32)
    assert ladder("fp16", cpu.ENGINE) == (FP16, FP32)
    assert ladder("fp32", gpu) == (FP32,)


def test_a_refused_rung_gives_way_to_the_next(workshop):
    """A processor computes no halves: it is told with the reason, and fp32 serves."""
    workshop.precision = "fp16"
    made = workshop.build()
    assert workshop.built == ["fp16", "fp32"]
    assert made.verification.precision is FP32
    (refused,) = made.refused
    assert (refused.precision, refused.verdict) == (FP16, "refused")
    assert "fp32" in refused.reason
    assert workshop.build() == made
    assert len(workshop.built) == 2


def test_int8_without_pictures_is_refused_with_the_next_step(workshop):
    """There is nothing to calibrate on: it says where pictures go, and a wider one serves."""
    workshop.precision = "int8"
    made = workshop.build()
    assert made.verification.precision is FP32
    (refused,) = made.refused
    assert refused.precision is INT8
    assert "verify" in refused.hint


@pytest.mark.slow
def test_int8_is_taken_only_where_it_is_faster(workshop, pictures):
    """It passes or not, but fp32 serves unless int8 was measured to be faster."""
    workshop.precision = "int8"
    made = workshop.build(frames=pictures)
    assert workshop.built == ["int8", "fp32"]
    other = {each.precision: each.reason for each in made.refused}
    assert set(other) == {INT8, FP32} - {made.verification.precision}
    assert all(other.values())


def test_where_no_rung_passes_there_is_no_engine(workshop):
    """The build fails with the widest rung's reason, and the cache remembers it."""

    def refuses(*_arguments):
        raise EngineError("no kernel for Foo", hint="Use another export.")

    workshop.backend = replace(workshop.backend, build=refuses)
    with pytest.raises(EngineError, match="fp32: no kernel for Foo") as caught:
        workshop.build()
    assert caught.value.hint == "Use another export."
    key = workshop.shelf.key(workshop.card, workshop.weights, workshop.backend)
    remembered = workshop.cache.refusal(key)
    assert (str(remembered), remembered.hint) == (str(caught.value), caught.value.hint)
    assert workshop.find() is None
    assert "no kernel for Foo" in workshop.cache.report(key).read_text(encoding="utf-8")


@pytest.mark.parametrize("where", ["build", "load"])
def test_a_device_without_room_is_no_fault_of_the_engine(workshop, where):
    """The error goes through, and nothing is remembered: next time there may be room."""

    def full(*_arguments):
        raise DeviceError("out of memory", hint="Use a smaller model.")

    workshop.backend = replace(workshop.backend, **{where: full})
    with pytest.raises(DeviceError, match="out of memory"):
        workshop.build()
    key = workshop.shelf.key(workshop.card, workshop.weights, workshop.backend)
    assert workshop.cache.refusal(key) is None
    assert workshop.cache.stored() == []
