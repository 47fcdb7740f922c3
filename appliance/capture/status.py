"""What a camera says about itself."""

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.values import CameraState, Drop


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
        reconnects: times it was live again by a new connection.
        frames_grabbed: since the process started.
        drops: of these, frames that were never taken, by reason; all reasons are there.
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
    reconnects: int
    frames_grabbed: int
    drops: Mapping[Drop, int]
    size_wh: tuple[int, int] | None

    @property
    def frames_dropped(self) -> int:
        """The sum of `drops`."""
        return sum(self.drops.values())
