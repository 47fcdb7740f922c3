"""A model that is ready to look at frames."""

from collections import deque
from dataclasses import dataclass, field

from appliance.engines import Engine
from appliance.letterbox import Letterbox
from appliance.runtimes import EngineSlot
from appliance.tasks import Rules, Task


@dataclass(slots=True, eq=False)
class ServedModel:
    """An engine with everything around it; used by the loop's thread only.

    Attributes:
        name: the model's name.
        engine: loaded, with free slots.
        task: turns outputs into predictions.
        letterbox: fits frames into slots.
        rules: thresholds and suppression.
        labels: class names in the order of class ids.
        free: slots that nothing waits for.
    """

    name: str
    engine: Engine
    task: Task
    letterbox: Letterbox
    rules: Rules
    labels: tuple[str, ...] = ()
    free: deque[EngineSlot] = field(init=False)

    def __post_init__(self) -> None:
        self.free = deque(self.engine.slots)
