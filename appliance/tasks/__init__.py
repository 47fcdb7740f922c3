"""What a model's canonical outputs mean: pure functions from tensors to predictions.

A task is one module with a constant TASK: the outputs that its heads make, its table in a card,
how outputs become a prediction, and how a prediction is written as JSON.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, with_config

from appliance import tasks
from appliance.errors import NoNumbersError
from appliance.geometry import Fit
from appliance.predictions import Prediction
from appliance.registry import plugins
from appliance.values import F32, I32

MAX_ROWS = 3840  # the most rows that TopK takes on every backend
Outputs = Mapping[str, NDArray[Any]]
Json = dict[str, Any]
Strict = with_config(ConfigDict(extra="forbid", strict=True))
Rows = Annotated[int, Field(ge=1, le=MAX_ROWS)]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The least score from which each class counts.

    Attributes:
        by_class: (C,) float32; infinity leaves a class out.
        other: for a class id outside the table.
    """

    by_class: F32
    other: float

    @classmethod
    def of(
        cls, labels: tuple[str, ...], *, confidence: float, classes: Mapping[str, float | None]
    ) -> "Thresholds":
        """By a confidence and a map of classes; an empty map means every class.

        Args:
            labels: class names in the order of class ids.
            confidence: of classes without a threshold of their own.
            classes: those that count, each with its threshold or None.
        """
        others = np.inf if classes else confidence
        given = {
            name: confidence if threshold is None else threshold
            for name, threshold in classes.items()
        }
        by_class = np.array([given.get(label, others) for label in labels], np.float32)
        return cls(by_class, float(others))

    def at(self, class_ids: I32) -> F32:
        """(N,) float32, the threshold of each of (N,) int32 class ids."""
        table = np.append(self.by_class, np.float32(self.other))
        known = (class_ids >= 0) & (class_ids < len(self.by_class))
        result: F32 = table[np.where(known, class_ids, len(self.by_class))]
        return result


@Strict
@dataclass(frozen=True, slots=True)
class Table:
    """A task's table in a card, without what the task adds.

    Attributes:
        labels: names by class id; from labels_file where that is given.
        labels_file: a text file in the card's folder, one name a line.
        confidence: score from which something counts, where a camera's settings say none.
    """

    labels: tuple[str, ...] = ()
    labels_file: str | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.3


@dataclass(frozen=True, slots=True)
class Output:
    """One canonical output of a task.

    Attributes:
        name: as in the graph.
        axes: behind N, one word for each: a number, or a letter for a size that is the model's.
            Axes of one letter are of one size.
        dtype: numpy's name.
    """

    name: str
    axes: tuple[str, ...]
    dtype: str


P = TypeVar("P", bound=Prediction)
T = TypeVar("T", bound=Table)


@dataclass(frozen=True, slots=True)
class Task(Generic[P, T]):
    """One task.

    Attributes:
        name: as cards and sidecars say it; also of its table in a card.
        outputs: the canonical outputs, each with a leading axis N = 1.
        table: what a card says for this task alone.
        finish: canonical outputs of one frame to a prediction in source pixels.
        nothing: the prediction of a frame of which nothing is known.
        form: version of the two that follow; it moves when either changes its meaning.
        columns: a prediction as the live protocol carries it, one list for each column.
        document: a prediction for programs, one object for each thing, with names.
    """

    name: str
    outputs: tuple[Output, ...]
    table: type[T]
    finish: Callable[[Outputs, Fit, T, Thresholds], P]
    nothing: P
    form: int
    columns: Callable[[P], Json]
    document: Callable[[P, tuple[str, ...]], Json]


def require_numbers(name: str, array: F32) -> None:
    """Refuse outputs of which nothing can be said.

    Raises:
        NoNumbersError: a value is no finite number.
    """
    if not np.isfinite(array).all():
        raise NoNumbersError(
            f"{name} holds values that are no numbers",
            hint="Export the model again; if its engine runs in fewer bits, "
            "APPLIANCE_ENGINE__PRECISION=fp32 may help.",
        )


@cache
def known() -> Mapping[str, Task[Any, Any]]:
    """Every task by name."""
    return plugins(tasks, "TASK", Task)
