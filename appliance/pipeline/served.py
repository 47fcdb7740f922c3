"""A model that is ready to look at frames."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from appliance.engines import Engine
from appliance.geometry import Fit
from appliance.letterbox import Letterbox
from appliance.predictions import Prediction
from appliance.runtimes import EngineSlot
from appliance.tasks import Table, Task, Thresholds

PATIENCE_S = 10.0  # with one single picture; a slow engine gets more


@dataclass(slots=True, eq=False)
class ServedModel:
    """An engine with everything around it; used by the loop's thread only.

    Attributes:
        name: the model's name.
        engine: loaded, with free slots.
        task: turns outputs into predictions.
        table: what the model's card says for its task.
        letterbox: fits frames into slots.
        labels: class names in the order of class ids.
        patience_s: for how long a single picture may keep the engine.
        is_given_up: it was kept for longer, and serves no more.
        free: slots that nothing waits for.
    """

    name: str
    engine: Engine
    task: Task[Any, Any]
    table: Table
    letterbox: Letterbox
    labels: tuple[str, ...] = ()
    patience_s: float = PATIENCE_S
    is_given_up: bool = False
    free: deque[EngineSlot] = field(init=False)

    def __post_init__(self) -> None:
        self.free = deque(self.engine.slots)

    def finish(self, slot: EngineSlot, fit: Fit, thresholds: Thresholds) -> Prediction:
        """What is in a slot's outputs, in pixels of the picture that was placed by `fit`.

        Raises:
            NoNumbersError: the outputs say nothing.
        """
        prediction: Prediction = self.task.finish(slot.outputs, fit, self.table, thresholds)
        return prediction


ThresholdsOf = Callable[[ServedModel], Thresholds]
"""What counts as seen, by what a model knows."""
