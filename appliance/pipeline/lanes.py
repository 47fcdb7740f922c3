"""Cameras' frames as work: the newest of each camera, in turn."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from appliance.buffers import Lease
from appliance.errors import ApplianceError, NoNumbersError
from appliance.geometry import Fit
from appliance.pipeline.criteria import EVERYTHING, Criteria
from appliance.pipeline.served import ServedModel
from appliance.pipeline.work import Inference, Urgency
from appliance.predictions import Result
from appliance.runtimes import EngineSlot
from appliance.tasks import Table, Thresholds

OnResult = Callable[[Result, Lease], None]


class FrameSource(Protocol):
    """What the loop needs of a camera."""

    def take(self, after_sequence: int) -> Lease | None:
        """The newest frame past `after_sequence`, or None; never waits."""


@dataclass(slots=True, eq=False)
class Lane:
    """One camera and the model that looks at it.

    Attributes:
        key: the camera's.
        source: the camera.
        model: the model's name.
        usual: what counts as seen, by the settings; everything where nobody says.
        is_by_card: its confidence is what the card says of the model that serves.
        sequence: of the frame that was taken last.
        is_removed: no result of it is published any more.
    """

    key: str
    source: FrameSource
    model: str
    usual: Criteria = EVERYTHING
    is_by_card: bool = False
    sequence: int = 0
    is_removed: bool = False
    _judged: tuple[tuple[str, ...], Table, Criteria, Thresholds] | None = None  # and no engine

    def thresholds(self, model: ServedModel, criteria: Criteria) -> Thresholds:
        """Of the model's classes by these criteria; made when either is another than before."""
        by = model.labels, model.table, criteria
        if self._judged is None or self._judged[:3] != by:
            by_card = self.is_by_card and criteria is self.usual
            least = model.table.confidence
            judging = replace(criteria, confidence=least) if by_card else criteria
            self._judged = *by, judging.thresholds(model)
        return self._judged[3]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A camera's frame: it is published with its prediction."""

    lane: Lane
    lease: Lease
    lanes: "Lanes"
    on_result: OnResult
    clock_ns: Callable[[], int]

    @property
    def model(self) -> str:
        """The model's name."""
        return self.lane.model

    @property
    def urgency(self) -> Urgency:
        """Cameras go first."""
        return Urgency.LIVE

    @property
    def is_wanted(self) -> bool:
        """Unless its camera has left."""
        return not self.lane.is_removed

    def place(self, model: ServedModel, slot: EngineSlot) -> Fit:
        """Fit the frame into the slot.

        Raises:
            ApplianceError: it cannot be fitted.
        """
        with self._named():
            return model.letterbox.place(self.lease.pixels, slot.frames[0])

    def finish(self, inference: Inference) -> None:
        """Publish; a model whose output is no numbers says so in the result.

        Raises:
            ApplianceError: there is no result, or it was not taken.
        """
        if self.is_wanted:
            with self._named():
                self.on_result(self._result(inference), self.lease)
        self.lease.release()

    def fail(self, _error: ApplianceError) -> None:
        """Let the frame go; the next one may do better."""
        self.lease.release()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Whatever fails is this camera's."""
        try:
            yield
        except Exception as error:
            what = f"{self.lane.key}: a frame gave no result: {type(error).__name__}"
            raise ApplianceError(what) from error

    def _result(self, inference: Inference) -> Result:
        model, unknown = inference.model, ""
        try:
            thresholds = self.lane.thresholds(model, self.lanes.criteria or self.lane.usual)
            prediction = model.finish(inference.slot, inference.fit, thresholds)
        except NoNumbersError as error:
            prediction, unknown = model.task.nothing, error.sentence()
        except Exception as error:  # noqa: BLE001 - of a model's outputs: told as its doubt
            unknown = f"its outputs cannot be read ({type(error).__name__})"
            prediction = model.task.nothing
        return Result(
            camera=self.lane.key,
            stamp=self.lease.stamp,
            size_wh=inference.fit.source_wh,
            task=model.task.name,
            prediction=prediction,
            inference_ms=inference.duration_ms,
            finished_ns=self.clock_ns(),
            labels=model.labels,
            unknown=unknown,
        )


class Lanes:
    """The cameras in the order in which they take turns; used by the loop's thread only.

    Args:
        lanes: the first ones.
        on_result: gets each result with the lease on its frame.
        clock_ns: monotonic.

    Attributes:
        criteria: what counts as seen by all cameras; None where each has its own.
    """

    def __init__(
        self, lanes: Iterable[Lane], *, on_result: OnResult, clock_ns: Callable[[], int]
    ) -> None:
        self._lanes = list(lanes)  # whose last turn is the longest ago comes first
        self._on_result = on_result
        self._clock_ns = clock_ns
        self.criteria: Criteria | None = None

    def add(self, lane: Lane) -> None:
        """One more camera."""
        self._lanes.append(lane)

    def remove(self, key: str) -> None:
        """Take no frame of this camera any more; what is in flight is not published."""
        for lane in self._lanes:
            lane.is_removed = lane.is_removed or lane.key == key
        self._lanes = [lane for lane in self._lanes if not lane.is_removed]

    def judge_by(self, criteria: Criteria | None) -> None:
        """By these for all cameras; None: each by its own."""
        self.criteria = criteria

    def next(self, can_take: Callable[[str], bool]) -> Frame | None:
        """The next camera's newest frame, of a model that can take one.

        The turn of a camera is over when its frame was taken: one that is passed over while its
        engine is at work is the first to come next.
        """
        for index, lane in enumerate(self._lanes):
            if can_take(lane.model) and (lease := lane.source.take(lane.sequence)) is not None:
                lane.sequence = lease.stamp.sequence
                self._lanes.append(self._lanes.pop(index))
                return Frame(lane, lease, self, self._on_result, self._clock_ns)
        return None
