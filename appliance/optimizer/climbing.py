"""Which precisions are tried, in which order, and which one is taken."""

from collections.abc import Sequence
from pathlib import Path

from appliance.engines import Backend
from appliance.optimizer.canonical import Canonical
from appliance.optimizer.rungs import Made, Maker, part_of
from appliance.runtimes import Progress
from appliance.values import Precision


def ladder(asked: str, backend: Backend) -> tuple[Precision, ...]:
    """The precisions to try for a setting's word, the wanted one first, each wider one after it."""
    if asked == "auto":
        return backend.rungs
    wanted = Precision(asked)
    wider = {
        Precision.INT8: backend.rungs,
        Precision.FP16: (Precision.FP32,),
        Precision.FP32: (),
    }
    return (wanted, *wider[wanted])


def climb(
    maker: Maker,
    canonical: Canonical,
    rungs: Sequence[Precision],
    folder: Path,
    progress: Progress,
) -> list[Made]:
    """Try rung after rung until one is taken.

    Int8 is not taken for being narrow: it must pass and be faster than the next one that passes,
    which not every processor makes it.

    Returns:
        Everything that was tried; the last one is taken, unless it is refused: then none is.
    """
    makes: list[Made] = []
    for index, rung in enumerate(rungs):
        place = folder / rung
        place.mkdir()
        told = part_of(progress, index / len(rungs), (index + 1) / len(rungs))
        makes.append(maker.make(canonical, rung, place, told))
        if not makes[-1].is_refused and not (rung is Precision.INT8 and maker.serial):
            break
    progress("Keeping the engine", 1.0)
    return _with_the_taken_one_last(makes)


def _with_the_taken_one_last(makes: list[Made]) -> list[Made]:
    passed = [made for made in makes if not made.is_refused]
    if not passed:
        return makes
    taken = min(passed, key=lambda made: made.inference_ms or 0.0)
    others = [made if made.is_refused else _slower(made, taken) for made in makes if made != taken]
    return [*others, taken]


def _slower(made: Made, taken: Made) -> Made:
    return made.refused(
        f"{made.inference_ms:.2f} ms an inference, {taken.verification.precision} takes "
        f"{taken.inference_ms:.2f} ms"
    )
