"""Inspect and overrides as a person sees them: a real station, a real browser, real requests."""

import base64
import io
import json
import re
import threading
import time
from pathlib import Path

import cv2
import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from tests.support.browser import CHROMIUM, SETTLED_MS, Watched, browsing, until
from tests.support.models import paint
from tests.support.people import ORIENTATION, blank_png, blurred_noise, encoded
from tests.support.process import (
    PLAIN,
    TOKEN,
    USERS,
    password_hash,
    started,
    station_environ,
    write_clip,
)

ASK = "/api/inspect?model=bright-spots&confidence=0.5"
USER = "otto"  # an operator
SQUARES = [("red", 40, 30, 84, 74), ("green", 190, 140, 234, 184)]
REFUSED = "console: Failed to load resource: the server responded with a status of 4"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    # playwright leaves its event loop's descriptors to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def environ_with_operator(folder, **changes):
    people = [f"{name}:{role}:{password_hash()}" for name, role in USERS.items()]
    people.append(f"{USER}:operator:{password_hash()}")
    return station_environ(folder, APPLIANCE_AUTH__USERS="\n".join(people), **changes)


@pytest.fixture(scope="module")
def environ(tmp_path_factory):
    folder = tmp_path_factory.mktemp("station")
    clip = write_clip(folder / "clip.avi")
    return environ_with_operator(
        folder,
        APPLIANCE_CAMERAS__GATE__URL=str(clip),
        APPLIANCE_CAMERAS__GATE__NAME="Gate",
        APPLIANCE_WEB__BASE_PATH="/cam",
    )


@pytest.fixture(scope="module")
def station(environ, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "log"
    with started(environ, log) as process:
        process.wait_until_ready()
        process.wait_until_page()
        yield process


def squares():
    """320 x 240 RGB: a red square above left, a green one below right."""
    return Image.fromarray(cv2.cvtColor(paint(SQUARES), cv2.COLOR_BGR2RGB))


class Caller:
    """An operator without a browser."""

    def __init__(self, station):
        self.station = station
        self.headers = {"Cookie": station.sign_in(USER), "Origin": station.origin}

    def ask(self, data, query=ASK, **options):
        return httpx.post(
            f"{self.station.url}{query}",
            content=data,
            headers=self.headers,
            timeout=60,
            **PLAIN,
            **options,
        )


@pytest.fixture
def caller(station):
    return Caller(station)


def stored(orientation):
    """The squares as a camera that was held otherwise stores them."""
    undo = {
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    picture = squares()
    return picture.transpose(undo[orientation]) if orientation in undo else picture


def boxes_of(found):
    return {each["class"]: each["box_xyxy_px"] for each in found["detections"]}


def assert_squares(found):
    assert found["picture_wh"] == [320, 240]
    boxes = boxes_of(found)
    assert set(boxes) == {"red", "green"}
    for name, *box in SQUARES:
        np.testing.assert_allclose(boxes[name], box, atol=8)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8, 9])
def test_boxes_are_told_in_the_picture_as_a_person_sees_it(caller, orientation):
    """However the phone was held, the same two boxes come out (O-01)."""
    data = encoded(stored(orientation), "JPEG", orientation=orientation)
    assert Image.open(io.BytesIO(data)).getexif()[ORIENTATION] == orientation
    assert_squares(caller.ask(data).json())


def test_broken_pictures_and_bombs_are_told_and_the_station_stays_up(caller, station):
    """Five at once, again and again: each is answered in words, and memory stays flat."""
    whole = encoded(blurred_noise(), "JPEG")
    troubles = [whole[: len(whole) // 2], whole[:-2], b"", blank_png(12_000), blank_png(30_000)]
    process = psutil.Process(station.child.pid)
    answers = []

    def round_of_five():
        threads = [
            threading.Thread(target=lambda data=data: answers.append(caller.ask(data)))
            for data in troubles
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    round_of_five()
    before = process.memory_info().rss
    for _ in range(10):
        round_of_five()
    assert len(answers) == 55
    assert {answer.status_code for answer in answers} == {400}
    assert all(answer.json()["hint"] for answer in answers)
    assert process.memory_info().rss - before < 30_000_000
    assert_squares(caller.ask(encoded(squares(), "PNG")).json())


def test_nothing_is_left_on_the_disk(caller, station):
    """A hundred pictures later, the folders are as large as before (O-18)."""

    def files():
        folders = [station.environ[f"APPLIANCE_PATHS__{name}"] for name in ("STATE", "CACHE")]
        found = [path for folder in folders for path in Path(folder).rglob("*") if path.is_file()]
        return {path for path in found if path.suffix not in {".db-wal", ".db-shm", ".pyc"}}

    before = files()
    for level in range(100):
        data = encoded(blurred_noise(80 + level, 60), "PNG")
        assert caller.ask(data).status_code == 200
    assert files() - before == set()


def test_pictures_wait_behind_the_cameras_and_the_cameras_go_on(caller, station):
    """While somebody inspects as fast as they can, the camera keeps most of its rate."""

    def inferred():
        answer = station.get("/metrics", Authorization=f"Bearer {TOKEN}")
        return float(
            re.search(r"^appliance_frames_inferred_total\{.*\} (\S+)", answer.text, re.M)[1]
        )

    def rate(seconds):
        first, began = inferred(), time.monotonic()
        time.sleep(seconds)
        return (inferred() - first) / (time.monotonic() - began)

    alone = rate(2)
    over = threading.Event()
    count = []

    def hurry():
        data = encoded(squares(), "PNG")
        while not over.is_set():
            count.append(caller.ask(data).status_code)

    thread = threading.Thread(target=hurry)
    thread.start()
    together = rate(3)
    over.set()
    thread.join(60)
    assert set(count) == {200}
    assert len(count) > 5
    assert together > alone / 2


def open_inspect(seen, station, user=USER):
    seen.sign_in(station.url, user=user)
    seen.page.get_by_role("tab", name="Inspect").click(timeout=SETTLED_MS)
    seen.page.wait_for_selector("inspect-page", timeout=SETTLED_MS)
    return seen.page.locator("inspect-page")


def rows(inspect):
    inspect.locator("tbody tr").first.wait_for(timeout=SETTLED_MS)
    return [re.split(r"\t", text) for text in inspect.locator("tbody tr").all_inner_texts()]


def test_a_person_uploads_a_picture_and_sees_what_the_model_sees(station, tmp_path):
    """Boxes in the picture, a row for each, and both can be kept."""
    path = tmp_path / "two squares.jpg"
    path.write_bytes(encoded(stored(6), "JPEG", orientation=6))
    with browsing(station.origin) as seen:
        inspect = open_inspect(seen, station)
        assert inspect.get_by_text("No picture yet").is_visible()
        inspect.locator("input[type=file]").set_input_files(path)
        found = rows(inspect)
        assert {row[1].strip() for row in found} == {"red", "green"}
        assert inspect.get_by_text("two squares.jpg").is_visible()
        picture = inspect.get_by_role("img", name=re.compile("^Result: "))
        size = "(it) => it.decode().then(() => [it.naturalWidth, it.naturalHeight])"
        assert picture.evaluate(size) == [320, 240]
        with seen.page.expect_download() as download:
            inspect.get_by_role("link", name="JSON").click()
        assert download.value.suggested_filename == "two-squares-result.json"
        kept = json.loads(Path(download.value.path()).read_text())
        assert_squares(kept)
        with seen.page.expect_download() as download:
            inspect.get_by_role("link", name="Picture").click()
        drawn = cv2.imread(str(download.value.path()))
        left, top, *_ = (round(value) for value in boxes_of(kept)["red"])
        assert drawn[top + 20, left].min() > 150  # the box's edge, white
        assert seen.troubles == []


def test_a_higher_confidence_shows_less_and_says_what_is_hidden(station, tmp_path):
    """The slider asks again by itself, and the table says how many more there are."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(squares(), "PNG"))
    with browsing(station.origin) as seen:
        inspect = open_inspect(seen, station)
        inspect.locator("input[type=file]").set_input_files(path)
        assert len(rows(inspect)) == 2
        slider = inspect.get_by_role("slider")
        slider.focus()
        slider.press("End")
        inspect.get_by_text(re.compile(r"^Not shown: \d+ below the confidence")).wait_for(
            timeout=SETTLED_MS
        )
        assert inspect.locator("tbody tr").count() == 0
        assert seen.troubles == []


def test_a_broken_picture_says_so_and_the_next_one_is_shown(station, tmp_path):
    """In words at the picture's place; nothing spins, and nothing of the picture before stays."""
    whole = encoded(squares(), "JPEG")
    (tmp_path / "whole.jpg").write_bytes(whole)
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "large.jpg").write_bytes(bytes(10_000_001))
    with browsing(station.origin) as seen:
        inspect = open_inspect(seen, station)
        choose = inspect.locator("input[type=file]").set_input_files
        choose(tmp_path / "whole.jpg")
        assert len(rows(inspect)) == 2
        choose(tmp_path / "half.jpg")
        told = "The picture is incomplete or damaged. Send or export it again."
        inspect.get_by_text(told).wait_for(timeout=SETTLED_MS)
        assert inspect.locator("tbody tr").count() == 0
        assert inspect.locator(".stage img").is_hidden()
        assert inspect.get_by_role("link", name="JSON").get_attribute("href") is None
        choose(tmp_path / "large.jpg")
        inspect.get_by_text("The file is larger than 10 MB.").wait_for(timeout=SETTLED_MS)
        choose(tmp_path / "whole.jpg")
        assert len(rows(inspect)) == 2
        assert all(trouble.startswith(REFUSED) for trouble in seen.troubles)


def test_a_picture_is_pasted_dropped_or_taken_from_a_camera(station):
    """Three more ways to bring one, all with the same result."""
    bring = """async ([kind, data]) => {
        const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
        const carried = new DataTransfer();
        carried.items.add(new File([bytes], `${kind}.png`, { type: "image/png" }));
        const options = { bubbles: true, cancelable: true };
        const target = document.querySelector("inspect-page");
        target.dispatchEvent(kind === "paste"
            ? new ClipboardEvent("paste", { ...options, clipboardData: carried })
            : new DragEvent("drop", { ...options, dataTransfer: carried }));
    }"""
    data = base64.b64encode(encoded(squares(), "PNG")).decode()
    with browsing(station.origin) as seen:
        inspect = open_inspect(seen, station)
        for kind in ("paste", "drop"):
            seen.page.evaluate(bring, [kind, data])
            inspect.get_by_role("heading", name=f"{kind}.png").wait_for(timeout=SETTLED_MS)
            assert len(rows(inspect)) == 2
        inspect.get_by_role("button", name="Take from Gate").click()
        inspect.get_by_role("heading", name=re.compile(r"^Gate, \d\d:")).wait_for(
            timeout=SETTLED_MS
        )
        assert {row[1].strip() for row in rows(inspect)} == {"red", "green"}
        assert seen.troubles == []


def test_a_viewer_sees_no_such_tab_and_may_not_ask(station):
    """What is hidden on the page is refused as well."""
    with browsing(station.origin) as seen:
        seen.sign_in(station.url, user="vera")
        seen.player()
        for name in ("Inspect", "System"):
            assert seen.page.get_by_role("tab", name=name).count() == 0
        statuses = seen.page.evaluate(
            """async () => Promise.all([
                ["POST", "/cam/api/inspect?model=bright-spots&confidence=0.5"],
                ["GET", "/cam/api/inspect/cameras/gate"],
                ["POST", "/cam/api/override"],
                ["DELETE", "/cam/api/override"],
            ].map(async ([method, path]) => (await fetch(path, { method })).status))"""
        )
        assert statuses == [403] * 4


def test_an_override_acts_for_everybody_until_it_is_ended(station):
    """From Inspect onto every live view; told in the bar and on System, and ended there."""
    with browsing(station.origin) as seen:
        inspect = open_inspect(seen, station)
        viewer = Watched(seen.page.context.browser.new_context().new_page(), station.origin)
        viewer.sign_in(station.url, user="vera")
        player = viewer.player()
        assert player.evaluate("window.appliance.lastBoxes.gate") == 2

        slider = inspect.get_by_role("slider")
        slider.focus()
        slider.press("End")
        inspect.get_by_role("button", name="Use 0.99 for all cameras").click()
        inspect.get_by_text(re.compile("^Acts on every camera")).wait_for(timeout=SETTLED_MS)
        until(player, "window.appliance.lastBoxes.gate === 0")
        told = viewer.page.get_by_role("button", name="Override 0.99")
        told.wait_for(timeout=SETTLED_MS)

        seen.page.get_by_role("button", name="Override 0.99").click()
        rules = seen.page.locator("station-rules")
        rules.get_by_text(f"overridden by {USER}").wait_for(timeout=SETTLED_MS)
        assert rules.get_by_text("APPLIANCE_CAMERAS__GATE__CONFIDENCE=0.99").is_visible()
        rules.get_by_role("button", name="End the override").click()
        until(player, "window.appliance.lastBoxes.gate === 2")
        told.wait_for(state="hidden", timeout=SETTLED_MS)
        assert seen.troubles == viewer.troubles == []


def test_classes_are_overridden_on_system_and_a_misspelt_one_is_told(station):
    """The form says which classes there are; the right one acts, and its line can be copied."""
    with browsing(station.origin, permissions=["clipboard-read", "clipboard-write"]) as seen:
        seen.sign_in(station.url, user=USER)
        player = seen.player()
        seen.page.get_by_role("tab", name="System").click()
        rules = seen.page.locator("station-rules")
        classes = rules.get_by_role("textbox", name=re.compile("^Classes"))
        override = rules.get_by_role("button", name="Override for everybody")
        rules.get_by_text("by the settings").wait_for(timeout=SETTLED_MS)
        classes.fill("rde")
        override.click()
        rules.get_by_text("No model in use knows the class 'rde'.").wait_for(timeout=SETTLED_MS)
        classes.fill("red")
        override.click()
        rules.get_by_text("APPLIANCE_CAMERAS__GATE__CLASSES=red").wait_for(timeout=SETTLED_MS)
        rules.get_by_role("button", name="Copy").click()
        rules.get_by_role("button", name="Copied").wait_for(timeout=SETTLED_MS)
        copied = seen.page.evaluate("navigator.clipboard.readText()")
        assert copied == "APPLIANCE_CAMERAS__GATE__CLASSES=red"
        seen.page.get_by_role("tab", name="Live").click()
        until(player, "window.appliance.lastBoxes.gate === 1")
        seen.page.get_by_role("tab", name="System").click()
        rules.get_by_role("button", name="End the override").click()
        rules.get_by_text("by the settings").wait_for(timeout=SETTLED_MS)
        assert all(trouble.startswith(REFUSED) for trouble in seen.troubles)


def test_an_override_is_gone_after_a_restart(tmp_path):
    """No settings live in the state: the next start sees what the variables say."""
    clip = write_clip(tmp_path / "clip.avi")
    environ = environ_with_operator(tmp_path, APPLIANCE_CAMERAS__GATE__URL=str(clip))
    for boxes in (0, 2):
        log = tmp_path / f"log-{boxes}"
        with started(environ, log) as station:
            station.wait_until_ready()
            station.wait_until_page()
            if boxes == 0:
                answer = Caller(station).ask(b'{"confidence": 0.99}', "/api/override")
                assert answer.json()["lines"] == ["APPLIANCE_CAMERAS__GATE__CONFIDENCE=0.99"]
            with browsing(station.origin) as seen:
                seen.sign_in(station.url, user="vera")
                until(seen.player(), f"window.appliance.lastBoxes.gate === {boxes}")
                told = seen.page.get_by_role("button", name="Override 0.99")
                told.wait_for(state="visible" if boxes == 0 else "hidden", timeout=SETTLED_MS)
            assert station.stop() == 0
