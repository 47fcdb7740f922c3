"""What a camera says about itself."""

from dataclasses import dataclass

from appliance.values import CameraState


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """One camera at one moment.

    Attributes:
        key: the camera's key.
        name: what people call it.
        state: what it is doing.
        since_s: wall clock when it began to, seconds since 1970.
        sentence: the state in words, with the cause.
        next_step: what a person can do; empty where there is nothing to do.
        attempt: attempts since it was last live; 0 while it is.
        retry_in_s: until the next attempt; None while there is none to wait for.
        source_fps: frames per second over the last seconds; None while there are none.
        frames_grabbed: since the process started.
        frames_dropped: replaced before anyone took them, or without a free slot.
        size_wh: frame size in pixels; None before the first frame.
    """

    key: str
    name: str
    state: CameraState
    since_s: float
    sentence: str
    next_step: str
    attempt: int
    retry_in_s: float | None
    source_fps: float | None
    frames_grabbed: int
    frames_dropped: int
    size_wh: tuple[int, int] | None
