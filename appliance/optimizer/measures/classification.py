"""Classification: the same probabilities of the same input, the same class of the same frame.

- The outputs: on the very same input, is each class as probable as by the original?
- The pictures: from the source frame, does the same class come first? Counts only with enough
  pictures of whose class the original is sure: a frame that could be anything proves nothing.
- The drift: how far do the probabilities lie apart on average? A crop that is a little wrong leaves
  an easy picture its class, and changes the probabilities of all of them.

In fp32 every class counts, and not one may be beyond the limit. Of narrower numbers as many may be
as pictures may change their class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from appliance.catalog.card import Card
from appliance.geometry import Fit
from appliance.optimizer.exhibits import Exhibit
from appliance.optimizer.measures import Finding, Measure, Placement, Terms, View, quantile
from appliance.optimizer.verdict import Figure
from appliance.predictions import Classification
from appliance.render.classification import draw_classes
from appliance.tasks import Outputs
from appliance.tasks.classification import ClassificationTable
from appliance.values import U8

VERSION: Final = 1  # what is measured, and what of it is too much
MIN_PICTURES = 30  # with a class that is sure; fewer prove nothing, whatever they show
TIE = 0.02  # in probability: a class that leads by less leads by a hair
LABEL_FROM = 0.5  # probability from which a picture has a label, where it may have several
# Of probabilities, on average. EfficientNet-Lite0: 0.005 between the two preparations, 0.014 with
# another interpolation, 0.047 with a crop of 0.9 in the place of 0.875.
MAX_DRIFT = 0.02


def predict(
    outputs: Outputs, _placement: Placement, _card: Card, confidence: float
) -> Classification:
    """The original's classes with this probability and more."""
    scores, class_ids = outputs["scores"][0], outputs["class_ids"][0]
    wanted = (class_ids >= 0) & (scores >= confidence)
    return Classification(scores[wanted], class_ids[wanted])


@dataclass(frozen=True, slots=True)
class _Shares:
    """Probabilities by class, and what is left for a class that is not among the best.

    Attributes:
        known: by class id.
        rest: the most that any other class can have.
    """

    known: dict[int, float]
    rest: float

    @classmethod
    def of(cls, found: Classification) -> "_Shares":
        scores = found.scores.tolist()
        rest = max(0.0, min([1 - sum(scores), *scores]))
        return cls(dict(zip(found.class_ids.tolist(), scores, strict=True)), rest)

    def of_class(self, class_id: int) -> float:
        """The probability, or the most that it can be."""
        return self.known.get(class_id, self.rest)

    def apart(self, other: "_Shares", class_id: int) -> float:
        """By how much the two differ at least."""
        if class_id in self.known and class_id in other.known:
            return abs(self.known[class_id] - other.known[class_id])
        return max(0.0, self.known.get(class_id, 0) - other.rest)

    def bar(self, *, is_multi: bool) -> float:
        """What a class of the picture has: the most, or as much as a label needs."""
        return LABEL_FROM if is_multi else max(self.known.values(), default=0)

    def sure(self, *, is_multi: bool) -> set[int]:
        """The classes of the picture, each by more than a hair."""
        if is_multi:
            return {each for each, share in self.known.items() if share >= LABEL_FROM + TIE}
        ordered = sorted(self.known, key=self.known.__getitem__, reverse=True)
        second = self.of_class(ordered[1]) if len(ordered) > 1 else self.rest
        is_sure = bool(ordered) and self.known[ordered[0]] - second > TIE
        return {ordered[0]} if is_sure else set()

    def denies(self, class_ids: set[int], *, is_multi: bool) -> bool:
        """Whether one of these is no class of the picture, by more than a hair."""
        bar = self.bar(is_multi=is_multi) - TIE
        return any(self.of_class(each) < bar for each in class_ids)


class Classes:
    """A comparison of one engine.

    Attributes:
        compared: of how many classes the probability was.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._is_multi = terms.card.table_of(ClassificationTable).multi_label
        self._spared = 0.0 if terms.is_exact else max(0.0, 1 - terms.limits["top1"])
        self._apart: list[float] = []
        self._drift: list[float] = []
        self._pictures = 0
        self._wrong = 0

    @property
    def compared(self) -> int:
        """How many probabilities were compared."""
        return len(self._apart)

    def add_outputs(self, expected: Outputs, seen: Outputs, *, of_noise: bool) -> None:
        """The probabilities of one input, of every class that either side tells of.

        Noise is of no class: each has little, and little is all that they can differ by. Where
        nothing is rounded, what they differ by is there measured by the most that one has.
        """
        one, other = (_Shares.of(_classes(each)) for each in (expected, seen))
        apart = [one.apart(other, each) for each in one.known]
        apart += [other.apart(one, each) for each in other.known.keys() - one.known.keys()]
        most = max(one.known.values(), default=1.0) if of_noise and self._terms.is_exact else 1.0
        self._apart += [each / most for each in apart]

    def add_predictions(self, expected: Classification, seen: Classification, _fit: Fit) -> int:
        """The classes of one frame; 1 where they are others."""
        one, other = _Shares.of(expected), _Shares.of(seen)
        is_wrong = _differ(one, other, is_multi=self._is_multi)
        sure = one.sure(is_multi=self._is_multi)
        if sure or is_wrong:
            self._pictures += 1
            self._wrong += is_wrong
            self._drift += [abs(one.of_class(each) - other.of_class(each)) for each in sure]
        return int(is_wrong)

    def finding(self) -> Finding:
        """Of all classes and pictures so far."""
        figures = {**self._of_outputs(), **self._of_pictures()}
        reason, hint = self._disagreement(figures)
        right, pictures = self._pictures - self._wrong, self._pictures
        too_few = f"{pictures} pictures of a sure class to compare, {MIN_PICTURES} needed"
        return Finding(
            figures,
            reason,
            hint,
            agreement=f"the original's class on {right} of {pictures} pictures",
            missing=too_few if pictures < MIN_PICTURES else "",
        )

    def _of_outputs(self) -> dict[str, Figure]:
        limit = self._terms.limits["score"]
        most, p99 = (quantile(self._apart, share) for share in (1 - self._spared, 0.99))
        return {
            "probability": Figure("Classes: probability", most, digits=3, limit=limit),
            "probability_p99": Figure("Classes: probability, 99 of 100 within", p99, digits=3),
        }

    def _of_pictures(self) -> dict[str, Figure]:
        count, least = self._pictures, self._terms.limits["top1"]
        title = "Pictures of a sure class"
        figures = {"pictures": Figure(title, count, limit=MIN_PICTURES, is_least=True)}
        if not count:
            return figures
        share = 1 - self._wrong / count
        drift = float(np.mean(self._drift)) if self._drift else 0.0
        most = max(MAX_DRIFT, self._terms.limits["score"])
        title = "Pictures: the original's class, share"
        return {
            **figures,
            "top1": Figure(title, share, digits=3, limit=least, is_least=True),
            "drift": Figure("Pictures: probability on average", drift, digits=3, limit=most),
        }

    def _disagreement(self, figures: dict[str, Figure]) -> tuple[str, str]:
        """Why the figures do not pass, and what to do; empty where they do."""
        terms, apart = self._terms, figures["probability"]
        if not apart.is_fine:
            return (
                f"its probabilities differ from the original's by {apart.value:.3f}; "
                f"allowed are {apart.limit:g}",
                terms.hint("head, channel order, mean or std"),
            )
        if self._pictures < MIN_PICTURES:
            return "", ""
        around = terms.hint("fit, crop or interpolation")
        top1, drift = figures["top1"], figures["drift"]
        if not top1.is_fine:
            return (
                f"the original's class on {top1.value:.1%} of {self._pictures} pictures; "
                f"{top1.limit:.1%} needed",
                around,
            )
        if not drift.is_fine:
            return (
                f"its probabilities differ from the original's by {drift.value:.3f} on average "
                f"over {self._pictures} pictures; allowed are {drift.limit:g}",
                around,
            )
        return "", ""


def views(exhibit: Exhibit[Classification], labels: Sequence[str]) -> tuple[View, View]:
    """Each side's classes, the best in the caption."""
    return (
        _view(exhibit.frame, exhibit.expected, labels),
        _view(exhibit.frame, exhibit.seen, labels),
    )


def _view(frame: U8, found: Classification, labels: Sequence[str]) -> View:
    picture, names = frame.copy(), found.names(labels)
    draw_classes(picture, found, names)
    return View(f"{names[0]} {found.scores[0]:.2f}" if names else "no class", picture)


def _differ(one: _Shares, other: _Shares, *, is_multi: bool) -> bool:
    """Whether either side is sure of a class that the other one denies."""
    return other.denies(one.sure(is_multi=is_multi), is_multi=is_multi) or one.denies(
        other.sure(is_multi=is_multi), is_multi=is_multi
    )


def _classes(outputs: Outputs) -> Classification:
    used = outputs["class_ids"][0] >= 0
    return Classification(outputs["scores"][0][used], outputs["class_ids"][0][used])


MEASURE = Measure(
    name="classification",
    limits=("top1", "score"),
    confidence=0.0,
    predict=predict,
    begin=Classes,
    views=views,
    about="Classes are what the engine puts out, compared on the very same input. Pictures are "
    "frames from the camera's pixels on; those count of whose class the original is sure, which "
    f"leads by more than {TIE}.",
    legend=f"Classes that lead by less than {TIE} are no disagreement.",
)
