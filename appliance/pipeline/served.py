"""A model that is ready to look at frames."""

from collections import deque
from dataclasses import dataclass, field

from appliance.engines import Engine
from appliance.letterbox import Letterbox
from appliance.runtimes import EngineSlot
from appliance.tasks import Rules, Task

PATIENCE_S = 10.0  # with one single picture; a slow engine gets more


@dataclass(slots=True, eq=False)
class ServedModel:
    """An engine with everything around it; used by the loop's thread only.

    Attributes:
        name: the model's name.
        engine: loaded, with free slots.
        task: turns outputs into predictions.
        letterbox: fits frames into slots.
        rules: thresholds and suppression, by the settings.
        rules_in_force: those, or what a person has put in their place.
        labels: class names in the order of class ids.
        patience_s: for how long a single picture may keep the engine.
        is_given_up: it was kept for longer, and serves no more.
        free: slots that nothing waits for.
    """

    name: str
    engine: Engine
    task: Task
    letterbox: Letterbox
    rules: Rules
    labels: tuple[str, ...] = ()
    patience_s: float = PATIENCE_S
    is_given_up: bool = False
    rules_in_force: Rules = field(init=False)
    free: deque[EngineSlot] = field(init=False)

    def __post_init__(self) -> None:
        self.rules_in_force = self.rules
        self.free = deque(self.engine.slots)
