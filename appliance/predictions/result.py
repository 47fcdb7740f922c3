"""One frame with what a model said of it."""

from dataclasses import dataclass

from appliance.predictions.prediction import Prediction
from appliance.values import FrameStamp


@dataclass(frozen=True, slots=True)
class Result:
    """One frame, inferred.

    Attributes:
        camera: the camera's key.
        stamp: when the frame was taken.
        size_wh: the frame's size in pixels.
        task: the name of the model's task, which tells the kind of the prediction.
        prediction: in source pixels.
        inference_ms: from the engine's submit to its outputs being ready.
        finished_ns: monotonic clock when the prediction was ready.
        labels: the model's class names in the order of class ids.
        unknown: why nothing is known of the frame, though the prediction is empty; else empty.
    """

    camera: str
    stamp: FrameStamp
    size_wh: tuple[int, int]
    task: str
    prediction: Prediction
    inference_ms: float
    finished_ns: int
    labels: tuple[str, ...] = ()
    unknown: str = ""

    def names(self) -> list[str]:
        """The class name of each thing in the prediction."""
        return self.prediction.names(self.labels)

    @property
    def age_ms(self) -> float:
        """From the grab to the finished prediction."""
        return (self.finished_ns - self.stamp.captured_ns) / 1e6
