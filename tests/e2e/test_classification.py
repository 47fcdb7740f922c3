"""Classification through the whole station: a camera, a person's picture, a real browser."""

import io
import json
import re
import subprocess
import sys

import cv2
import httpx
import pytest
from PIL import Image

from tests.support.bright_colors import NAME, field, write_bright_colors, write_field_clip
from tests.support.browser import CHROMIUM, SETTLED_MS, browsing, until
from tests.support.models import paint
from tests.support.process import seeing, started, station_environ

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    # playwright leaves its event loop's descriptors to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CATS = {"tiger cat", "Egyptian cat", "tabby", "Persian cat", "Siamese cat"}


def encoded(picture):
    """PNG of a picture (H, W, 3) uint8 BGR."""
    stored = io.BytesIO()
    Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)).save(stored, "PNG")
    return stored.getvalue()


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    """Two cameras: `gate` finds squares, `belt` tells the color of what is in the middle."""
    folder = tmp_path_factory.mktemp("station")
    write_bright_colors(folder / "state" / "models" / NAME)
    with seeing(
        folder,
        APPLIANCE_CAMERAS__GATE__NAME="Gate",
        APPLIANCE_CAMERAS__BELT__URL=str(write_field_clip(folder / "belt.avi", "green")),
        APPLIANCE_CAMERAS__BELT__NAME="Belt",
        APPLIANCE_CAMERAS__BELT__MODEL=NAME,
    ) as process:
        yield process


def ask(station, picture, model, confidence=0.01):
    return httpx.post(
        f"{station.url}/api/inspect?model={model}&confidence={confidence}",
        content=picture,
        headers={"Cookie": station.sign_in(), "Origin": station.origin},
        timeout=60,
    ).json()


def alternative(camera):
    """What a screen reader is told of a camera's picture, as an expression."""
    canvases = "[...document.querySelectorAll('canvas')].map((canvas) => canvas.ariaLabel ?? '')"
    return f"{canvases}.find((label) => label.startsWith('{camera}:'))"


def test_live_shows_the_best_class_of_one_camera_beside_the_objects_of_another(station):
    """Each camera is told of in the words of its own task, on the wall and alone."""
    with browsing(station.origin) as seen:
        seen.sign_in(station.url)
        player = seen.player()
        until(player, "window.appliance.drawn.belt > 2 && window.appliance.drawn.gate > 2")
        belt, gate = (player.locator(".tile", has_text=name) for name in ("Belt", "Gate"))
        belt.get_by_text("best class, 1.00").wait_for(timeout=SETTLED_MS)
        assert belt.locator(".readings b").all_inner_texts()[-1] == "green"
        assert "objects" in gate.locator(".readings").inner_text()
        assert re.match(r"Belt: green 1\.00; picture", player.evaluate(alternative("Belt")))
        counted = player.evaluate(alternative("Gate"))
        assert re.match(r"Gate: 1 (red, 1 green|green, 1 red); picture", counted)

        belt.get_by_role("button", name="Enlarge Belt").click()
        tally = player.locator(".tally")
        tally.get_by_text("1 class").wait_for(timeout=SETTLED_MS)
        green = tally.get_by_role("button", name=re.compile("green"))
        assert green.inner_text().split() == ["1.00", "green"]
        assert player.evaluate("window.appliance.lastBoxes.belt") == 1
        green.click()
        until(player, "window.appliance.lastBoxes.belt === 0")
        tally.get_by_text("0 of 1 shown").wait_for(timeout=SETTLED_MS)
        assert seen.troubles == []


def test_the_best_class_is_written_into_the_corner_of_the_picture(station):
    """On a field of one color the label is what is dark and light, at the left top."""
    darkest = """() => {
      const canvas = document.querySelector(".tile:not([hidden]) canvas");
      const ratio = canvas.width / canvas.clientWidth;
      const scale = Math.min(canvas.clientWidth / 320, canvas.clientHeight / 240);
      const x = (canvas.clientWidth - 320 * scale) / 2, y = (canvas.clientHeight - 240 * scale) / 2;
      const at = [x + 6, y + 6, 60, 14].map((length) => Math.round(length * ratio));
      const { data } = canvas.getContext("2d").getImageData(...at);
      let light = 0, dark = 0;
      for (let i = 0; i < data.length; i += 4) {
        if (data[i] > 200) light += 1;
        if (data[i] < 60 && data[i + 2] < 160) dark += 1;
      }
      return [light, dark, data.length / 4];
    }"""
    with browsing(station.origin) as seen:
        seen.sign_in(station.url)
        player = seen.player()
        player.get_by_role("button", name="Enlarge Belt").click()
        until(player, "document.querySelector('#player').dataset.view === 'one'")
        until(player, "window.appliance.lastBoxes.belt === 1")
        light, dark, every = player.evaluate(darkest)
        assert light > 0.02 * every
        assert dark > 0.3 * every
        assert seen.troubles == []


def test_inspect_lists_the_classes_of_a_picture(station):
    """A classifier's table has no boxes in it; another model's has them, and the same picture."""
    with browsing(station.origin) as seen:
        seen.sign_in(station.url)
        seen.page.get_by_role("tab", name="Inspect").click(timeout=SETTLED_MS)
        inspect = seen.page.locator("inspect-page")
        inspect.get_by_label("Model").select_option(NAME)
        slider = inspect.get_by_role("slider")
        slider.focus()
        slider.press("Home")
        picture = paint([("red", 120, 80, 200, 160)])
        inspect.locator("input[type=file]").set_input_files(
            {"name": "square.png", "mimeType": "image/png", "buffer": encoded(picture)}
        )
        inspect.get_by_role("heading", name="square.png").wait_for(timeout=SETTLED_MS)

        def cells(selector):
            return inspect.locator(selector).all_inner_texts()

        assert [title.lower() for title in cells("thead th")] == ["#", "class", "score"]
        assert cells("tbody tr:first-child td")[1] == "red"
        assert len(cells("tbody tr")) == 3
        alt = inspect.locator(".stage img").get_attribute("alt")
        # The square fills four ninths of the middle; cropped twice, it would fill it all.
        assert re.match(r"Result: red 0\.(8[5-9]|9[0-4]), ", alt)

        inspect.get_by_label("Model").select_option("bright-spots")
        inspect.get_by_text("bright-spots ·").wait_for(timeout=SETTLED_MS)
        assert len(cells("thead th")) == 5
        assert len(cells("tbody tr:first-child td")) == 5
        assert seen.troubles == []


def test_a_program_gets_classes_as_such(station):
    """The answer names its task and the version of its form; the scores are a distribution."""
    found = ask(station, encoded(field("red")), NAME)
    assert (found["task"], found["form"]) == ("classification", 1)
    assert found["classes"][0]["class"] == "red"
    assert sum(each["score"] for each in found["classes"]) == pytest.approx(1, abs=0.011)
    assert "detections" not in found


def test_the_kiosk_names_what_is_in_the_picture(station):
    """Without controls, and without the word for objects."""
    with browsing(station.origin) as seen:
        seen.sign_in(station.url)
        seen.player()
        seen.page.goto(f"{station.url}/player?kiosk=1")
        seen.page.get_by_text("best class, 1.00").wait_for(timeout=SETTLED_MS)
        assert seen.troubles == []


@pytest.fixture(scope="module")
def real(tmp_path_factory, efficientnet, cat):
    """A station with the shipped classifier, whose camera sees a cat."""
    folder = tmp_path_factory.mktemp("real")
    picture = cv2.imread(str(cat))
    clip = folder / "cat.avi"
    height, width = picture.shape[:2]
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    for shift in range(40):  # it moves a little, as a cat does
        writer.write(
            cv2.warpAffine(
                picture, cv2.getRotationMatrix2D((225, 150), shift / 20, 1), (width, height)
            )
        )
    writer.release()
    weights = folder / "state" / "models" / "efficientnet-lite0"
    weights.mkdir(parents=True)
    (weights / "model.onnx").symlink_to(efficientnet)
    environ = station_environ(
        folder,
        APPLIANCE_MODEL="efficientnet-lite0",
        APPLIANCE_CAMERAS__SOFA__URL=str(clip),
        APPLIANCE_CAMERAS__SOFA__NAME="Sofa",
        APPLIANCE_CAMERAS__SOFA__CONFIDENCE="0.1",
    )
    command = [sys.executable, "-m", "appliance", "build", "efficientnet-lite0", "--frames", clip]
    subprocess.run(command, env=environ, check=True)
    with started(environ, folder / "log") as process:
        process.wait_until_ready()
        process.wait_until_page()
        yield process


def test_a_cat_is_a_cat_through_the_whole_station(real, cat):
    """The shipped classifier, its crop, its engine and its labels: on Live and by Inspect."""
    found = ask(real, cat.read_bytes(), "efficientnet-lite0")
    named = [each["class"] for each in found["classes"]]
    assert len(named) <= 5
    assert set(named[:3]) <= CATS, json.dumps(found["classes"])
    with browsing(real.origin) as seen:
        seen.sign_in(real.url)
        player = seen.player()
        said = until(player, f"(/Sofa: [^;]*cat/.exec({alternative('Sofa')}) ?? [''])[0]")
        assert any(name in said for name in CATS), said
        assert seen.troubles == []
