"""The real input: detectors, and the demonstration's street clip, in 720p too."""

import os
from dataclasses import dataclass
from pathlib import Path

import cv2

from appliance.app.demo import CLIP
from appliance.catalog.card import CARD_FILE, Card, read_card
from appliance.catalog.library import Library, builtin_models_dir
from appliance.catalog.origins import obtain
from appliance.pipeline.criteria import Criteria

MODEL = "centernet-mobilenetv3"
YOLO = "yolo11n-640"  # its weights may mean nothing: only its time counts
YOLO_FILE = "yolo11n_640_random_weights.onnx"
YOLO_CARD = """\
title = "A YOLO11n at 640"
license = "AGPL-3.0"
source = "the folder of test data"
task = "detection"
head = "yolov8"

[input]
size_wh = [640, 640]
std = [255, 255, 255]

[detection]
candidates = 300
"""
SIZE_720P = (1280, 720)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where everything is.

    Attributes:
        state: a state folder with the model in it.
        card: the model's.
        weights: the original ONNX.
        clip: a street, 640 x 272, 25 fps, 250 frames.
        clip_720p: the same at 1280 x 720, as MPEG-4.
    """

    state: Path
    card: Card
    weights: Path
    clip: Path
    clip_720p: Path


def yolo_weights() -> Path:
    """A YOLO11n at 640 in the folder of test data; it may be missing."""
    root = Path(__file__).parents[1]
    folder = os.environ.get("APPLIANCE_TEST_DATA") or root / ".." / "shared" / "data"  # noqa: TID251 - a benchmark is no part of the appliance
    return Path(folder) / YOLO_FILE


def obtain_inputs(cache: Path, model: str = MODEL) -> Inputs:
    """Bring what is not there yet, into a folder that may be kept between runs."""
    state = cache / "state"
    library = Library(builtin_models_dir(), state / "models")
    if model == YOLO:
        weights, card = yolo_weights(), _yolo_card(cache / YOLO)
    else:
        weights, card = library.pull(model), library.card(model)
    clip = cache / "street.mp4"
    if not clip.is_file():
        obtain(CLIP, cache)
    clip_720p = cache / "street-720p.mp4"
    if not clip_720p.is_file():
        _write_720p(clip, clip_720p)
    return Inputs(state, card, weights, clip, clip_720p)


def criteria_of(card: Card) -> Criteria:
    """What counts as seen, by the card alone."""
    return Criteria(card.table.confidence)


def _yolo_card(folder: Path) -> Card:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD_FILE).write_text(YOLO_CARD, encoding="utf-8")
    return read_card(folder / CARD_FILE)


def _write_720p(clip: Path, target: Path) -> None:
    part = target.with_suffix(".part.mp4")
    reader = cv2.VideoCapture(str(clip))
    writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"mp4v"), 25, SIZE_720P)
    while True:
        there, frame = reader.read()
        if not there:
            break
        writer.write(cv2.resize(frame, SIZE_720P))
    writer.release()
    reader.release()
    part.rename(target)
