"""Single pictures that people ask about, as work."""

from concurrent.futures import Future
from dataclasses import dataclass

from appliance.errors import ApplianceError, EngineError
from appliance.geometry import Fit
from appliance.pipeline.served import ServedModel
from appliance.pipeline.work import Inference, Urgency
from appliance.predictions import Prediction
from appliance.runtimes import EngineReport, EngineSlot
from appliance.tasks import Thresholds
from appliance.values import U8


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a model sees in a single picture.

    Attributes:
        task: the model's, which tells the kind of the prediction.
        prediction: in the picture's pixels.
        labels: the model's class names in the order of class ids.
        report: on the engine that looked.
        input_wh: the model's input size, pixels.
        waited_ms: until the engine got it.
        inference_ms: from the engine's submit to its outputs being ready.
    """

    task: str
    prediction: Prediction
    labels: tuple[str, ...]
    report: EngineReport
    input_wh: tuple[int, int]
    waited_ms: float
    inference_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A single picture, fitted for `served` by whoever asks: it may be a large one."""

    served: ServedModel
    fitted: U8
    fit: Fit
    thresholds: Thresholds
    asked_ns: int
    answer: Future[Inspected]

    @property
    def model(self) -> str:
        """The model's name."""
        return self.served.name

    @property
    def urgency(self) -> Urgency:
        """Behind the cameras."""
        return Urgency.PEOPLE

    @property
    def is_wanted(self) -> bool:
        """Until whoever asked has gone."""
        return not self.answer.cancelled()

    def place(self, model: ServedModel, slot: EngineSlot) -> Fit | None:
        """Write the picture into the slot.

        Raises:
            EngineError: it was fitted for an engine that serves no more.
        """
        if not self.answer.set_running_or_notify_cancel():
            return None
        if model is not self.served:
            raise EngineError("the engine was replaced just now", hint="Try again.")
        model.letterbox.put(self.fitted, slot.frames[0])
        return self.fit

    def finish(self, inference: Inference) -> None:
        """Answer.

        Raises:
            NoNumbersError: the outputs say nothing.
        """
        model, fit = inference.model, inference.fit
        self.answer.set_result(
            Inspected(
                task=model.task.name,
                prediction=model.finish(inference.slot, fit, self.thresholds),
                labels=model.labels,
                report=model.engine.report,
                input_wh=fit.input_wh,
                waited_ms=(inference.submitted_ns - self.asked_ns) / 1e6,
                inference_ms=inference.duration_ms,
            )
        )

    def fail(self, error: ApplianceError) -> None:
        """Answer with the error."""
        if self.answer.running() or self.answer.set_running_or_notify_cancel():
            self.answer.set_exception(error)
