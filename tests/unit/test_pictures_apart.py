"""Pictures read in a process of their own: hostile ones take neither time nor memory of others."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from appliance.errors import EngineError, PictureError
from appliance.pictures import Limits
from appliance.pictures import apart as apart_module
from appliance.pictures.apart import ReaderApart
from appliance.pictures.pixels import read_picture
from tests.support.fakes import wait_until
from tests.support.hostile_pictures import liar_avif, many_scans, slow_jpeg
from tests.support.people import blank_png, blurred_noise, encoded, upright

LIMITS = Limits()


@pytest.fixture
def reader():
    """Reads, and leaves no process behind."""
    made = ReaderApart()
    yield made
    made.rest()


def peak_bytes(reader):
    """Of the process, since its start."""
    lines = Path(f"/proc/{reader._process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_a_picture_comes_out_as_it_does_here(reader, kind):
    """Pixel for pixel, one after the other, by the same process."""
    for picture in (upright(), blurred_noise(301, 203)):
        data = encoded(picture, kind)
        np.testing.assert_array_equal(reader.read(data, LIMITS), read_picture(data, LIMITS))


def test_the_process_is_kept_and_can_rest(reader):
    """Its start takes longer than a picture; without pictures its memory is others'."""
    data = encoded(upright(), "PNG")
    reader.read(data, LIMITS)
    first = reader._process.pid
    reader.read(data, LIMITS)
    assert reader._process.pid == first
    reader.rest()
    assert not psutil.pid_exists(first)
    assert reader.read(data, LIMITS).shape == (64, 96, 3)


def test_a_process_that_ended_is_started_anew(reader):
    """The kernel may have taken its memory: the next picture is read."""
    data = encoded(upright(), "PNG")
    reader.read(data, LIMITS)
    reader._process.kill()
    reader._process.wait()
    assert reader.read(data, LIMITS).shape == (64, 96, 3)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "empty"),
        (b"words", "no picture"),
        (encoded(blurred_noise(), "JPEG")[:999], "incomplete"),
        (blank_png(12_000), "12000 × 12000 pixels"),
        (bytes(11_000_000), "larger than 10 MB"),
    ],
)
def test_what_is_wrong_is_told_as_here(reader, data, told):
    """With what to do, and the process goes on."""
    with pytest.raises(PictureError, match=told) as caught:
        reader.read(data, LIMITS)
    assert caught.value.hint
    assert reader.read(encoded(upright(), "PNG"), LIMITS).shape == (64, 96, 3)


def test_an_avif_that_lies_about_its_size_takes_no_memory(reader):
    """It says 64 × 64, has 1 kB, and unpacks to 49 million pixels: a picture of 64 × 64 may not."""
    started = time.process_time()
    with pytest.raises(PictureError, match=r"incomplete|memory"):
        reader.read(liar_avif(), LIMITS)
    assert time.process_time() - started < 1
    assert peak_bytes(reader) < 130_000_000
    assert reader.read(encoded(upright(), "AVIF"), LIMITS).shape == (64, 96, 3)


def test_a_jpeg_of_a_hundred_thousand_scans_is_refused_at_once(reader):
    """Each scan costs as much as a picture; real ones have ten."""
    data = many_scans(100_000)
    assert len(data) < LIMITS.size_bytes
    started = time.monotonic()
    with pytest.raises(PictureError, match="more than 100 scans") as caught:
        reader.read(data, LIMITS)
    assert time.monotonic() - started < 10
    assert caught.value.hint


def test_a_picture_that_takes_too_long_is_ended(reader):
    """The person is told, the process is gone, and the next picture is read."""
    reader._limit_s = 0.5
    with pytest.raises(PictureError, match=r"not read within") as caught:
        reader.read(slow_jpeg(), LIMITS)
    assert caught.value.hint
    assert reader._process.returncode is not None
    reader._limit_s = 30
    assert reader.read(encoded(upright(), "PNG"), LIMITS).shape == (64, 96, 3)


def test_who_leaves_too_late_harms_no_other_picture(reader):
    """A picture was read when its process was told to end: the next one, of anybody, is read."""
    data = encoded(upright(), "PNG")
    for _ in range(8):  # a process that was killed ends when it is its turn
        assert reader.read(data, LIMITS).shape == (64, 96, 3)
        reader.end("nobody waits")


def test_a_process_that_ends_while_a_picture_is_sent_to_it_is_started_anew(reader, monkeypatch):
    """More than a pipe holds was on its way."""
    sound = apart_module.COMMAND
    monkeypatch.setattr(apart_module, "COMMAND", (sound[0], "-c", "pass"))
    for _ in range(2):
        with pytest.raises(PictureError, match="ended unexpectedly") as caught:
            reader.read(bytes(9_000_000), LIMITS)
        assert caught.value.hint
    monkeypatch.setattr(apart_module, "COMMAND", sound)
    assert reader.read(encoded(upright(), "PNG"), LIMITS).shape == (64, 96, 3)


def test_who_has_gone_is_not_read_for(reader):
    """The process ends at once, however long the picture would take."""
    ended = []

    def read():
        with pytest.raises(EngineError, match="has gone") as caught:
            reader.read(slow_jpeg(), LIMITS)
        ended.append(caught)

    thread = threading.Thread(target=read)
    thread.start()
    wait_until(lambda: reader._process is not None)
    reader.end("the sender has gone")
    thread.join(10)
    assert ended
    assert reader.read(encoded(upright(), "PNG"), LIMITS).shape == (64, 96, 3)


def test_the_kernel_ends_it_before_the_station(reader):
    """Where memory is short, a picture is lost and no camera."""
    reader.read(encoded(upright(), "PNG"), LIMITS)
    assert Path(f"/proc/{reader._process.pid}/oom_score_adj").read_text().strip() == "1000"


def test_the_processor_is_the_cameras_before_it_is_a_pictures(reader):
    """Where every core computes, a picture waits and no frame does."""
    reader.read(encoded(upright(), "PNG"), LIMITS)
    assert psutil.Process(reader._process.pid).nice() == os.nice(0) + 10


def test_what_libraries_print_reaches_no_log(reader, capfd):
    """A damaged TIFF makes its library talk, in words of the file."""
    whole = encoded(blurred_noise(), "TIFF", compression="tiff_lzw")
    with pytest.raises(PictureError):
        reader.read(whole[:9000] + bytes(9000) + whole[18000:], LIMITS)
    assert capfd.readouterr() == ("", "")


def test_the_process_loads_nothing_heavy():
    """It is there in a tenth of a second, and takes some 25 MB."""
    reader = ReaderApart()
    reader.read(encoded(upright(), "PNG"), LIMITS)
    maps = Path(f"/proc/{reader._process.pid}/maps").read_text()
    rss_bytes = psutil.Process(reader._process.pid).memory_info().rss
    reader.rest()
    assert not [name for name in ("numpy", "cv2", "onnx", "gradio") if f"/{name}" in maps]
    assert rss_bytes < 60_000_000


def test_an_answer_of_another_size_than_may_be_is_not_believed(reader, monkeypatch):
    """Whatever has become of the process, the station takes no more memory than a picture may."""
    script = 'import sys; sys.stdin.buffer.readline(); print(\'{"width": 99999, "height": 99999}\')'
    monkeypatch.setattr(apart_module, "COMMAND", (apart_module.COMMAND[0], "-c", script))
    with pytest.raises(PictureError, match="99999 × 99999"):
        reader.read(b"x", LIMITS)
    monkeypatch.undo()
    assert reader.read(encoded(upright(), "PNG"), LIMITS).shape[2] == 3  # by a process of its own


def test_where_no_process_can_be_had_a_sentence_says_so(reader, monkeypatch):
    """As where no descriptor is left: the next picture is read again."""
    monkeypatch.setattr(apart_module, "COMMAND", ("/nowhere/python",))
    with pytest.raises(EngineError, match="no process can be started") as caught:
        reader.read(encoded(upright(), "PNG"), LIMITS)
    assert caught.value.hint
    monkeypatch.undo()
    assert reader.read(encoded(upright(), "PNG"), LIMITS).shape[2] == 3


def test_nothing_is_loaded_from_the_current_folder(reader, monkeypatch, tmp_path):
    """A file there could pass for a library of ours."""
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert reader.read(encoded(upright(), "PNG"), LIMITS).shape[2] == 3
