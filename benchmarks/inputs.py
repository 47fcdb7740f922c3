"""The real input: the shipped detector and the demonstration's street clip, in 720p too."""

from dataclasses import dataclass
from pathlib import Path

import cv2

from appliance.app.demo import CLIP
from appliance.catalog.card import Card
from appliance.catalog.library import Library, builtin_models_dir
from appliance.catalog.origins import obtain

MODEL = "centernet-mobilenetv3"
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


def obtain_inputs(cache: Path) -> Inputs:
    """Bring what is not there yet, into a folder that may be kept between runs."""
    state = cache / "state"
    library = Library(builtin_models_dir(), state / "models")
    weights = library.pull(MODEL)
    clip = cache / "street.mp4"
    if not clip.is_file():
        obtain(CLIP, cache)
    clip_720p = cache / "street-720p.mp4"
    if not clip_720p.is_file():
        _write_720p(clip, clip_720p)
    return Inputs(state, library.card(MODEL), weights, clip, clip_720p)


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
