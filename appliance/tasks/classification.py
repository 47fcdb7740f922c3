"""Classification: the best classes of a picture, one label of it or several at a time.

One form serves both, best first. Where classes compete, scores are a distribution (a softmax) of
which the best k leave the engine. Where a picture may have several labels (multi_label), each
score is a sigmoid of its own, and every class leaves the engine, as far as one TopK can take them:
which of them count is for thresholds to say, not for a rank.
"""

from dataclasses import dataclass
from typing import Final

from appliance.geometry import Fit
from appliance.predictions import Classification
from appliance.tasks import (
    MAX_ROWS,
    Json,
    Output,
    Outputs,
    Rows,
    Strict,
    Table,
    Task,
    Thresholds,
    require_numbers,
)

VERSION: Final = 1  # what outputs mean


@Strict
@dataclass(frozen=True, slots=True)
class ClassificationTable(Table):
    """How scores become classes.

    Attributes:
        top_k: the best classes that are told of, where they compete.
        multi_label: a picture may have several labels; every class is told of.
    """

    top_k: Rows = 5
    multi_label: bool = False

    def rows(self, classes: int) -> int:
        """k: how many of so many classes leave the engine."""
        return min(classes, MAX_ROWS if self.multi_label else self.top_k)


def finish(
    outputs: Outputs,
    _fit: Fit,
    _table: ClassificationTable,
    thresholds: Thresholds,
) -> Classification:
    """The classes that count, best first.

    Args:
        outputs: `scores` f32 (1, k) and `class_ids` i32 (1, k), best first; unused rows have
            score 0 and class -1.
        thresholds: what counts.

    Raises:
        NoNumbersError: a score is no finite number: what the picture shows is then unknown.
    """
    scores, class_ids = outputs["scores"][0], outputs["class_ids"][0]
    require_numbers("scores", scores)
    wanted = (scores >= thresholds.at(class_ids)) & (class_ids >= 0)
    return Classification(scores[wanted], class_ids[wanted])


def columns(found: Classification) -> Json:
    """For the live protocol: rounded in float64, since a rounded float32 keeps all its digits."""
    return {
        "scores": found.scores.astype("float64").round(3).tolist(),
        "class_ids": found.class_ids.tolist(),
    }


def document(found: Classification, labels: tuple[str, ...]) -> Json:
    """For programs: one object for each class."""
    rows = zip(
        found.names(labels),
        found.class_ids.tolist(),
        found.scores.astype("float64").round(4).tolist(),
        strict=True,
    )
    return {
        "classes": [
            {"class": name, "class_id": class_id, "score": score} for name, class_id, score in rows
        ]
    }


TASK = Task(
    name="classification",
    outputs=(
        Output("scores", ("k",), "float32"),
        Output("class_ids", ("k",), "int32"),
    ),
    table=ClassificationTable,
    finish=finish,
    nothing=Classification.empty(),
    form=1,
    columns=columns,
    document=document,
)
