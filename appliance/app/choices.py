"""Which backends may run a model on this box, the best first, and why others may not."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from appliance import engines
from appliance.engines import Backend
from appliance.errors import EngineError
from appliance.registry import plugins
from appliance.settings import Settings

RANK = ("tensorrt", "rtx", "cuda", "cpu")  # the best first
AUTO = "auto"
ANY = "any"


@dataclass(frozen=True, slots=True)
class Choices:
    """What may run here.

    Attributes:
        backends: the best first.
        missed: why the one that was asked for by name is not among them; None where it is, or
            where the box's best was asked for.
    """

    backends: tuple[Backend, ...]
    missed: EngineError | None = None


def backends() -> Mapping[str, Backend]:
    """Every backend there is, the best first."""
    found = plugins(engines, "ENGINE", Backend)
    return {name: found[name] for name in RANK}


def obstacle(backend: Backend) -> EngineError | None:
    """Why nothing here runs this backend's engines; None where something does."""
    try:
        backend.device()
        backend.version()
    except EngineError as error:
        return error
    return None


def choices(settings: Settings, without: Collection[str] = ()) -> Choices:
    """The backends for this station.

    One that was asked for by name comes first, and lesser ones after it, to fall back on; what is
    required stands alone.

    Args:
        settings: what was asked for and what is required.
        without: backends that have failed in this run.

    Raises:
        EngineError: what is required does not run here.
    """
    asked, required = settings.engine.backend, settings.engine.require
    best = asked if asked != AUTO else RANK[0]
    wanted = RANK[RANK.index(best) :] if required == ANY else (required,)
    obstacles = {name: _obstacle(backend, without) for name, backend in backends().items()}
    usable = tuple(b for name, b in backends().items() if name in wanted and not obstacles[name])
    missing = obstacles.get(required if required != ANY else asked)
    if missing and required != ANY:
        title = backends()[required].title
        raise EngineError(
            f"{title} is required and does not run here: {missing}",
            hint=missing.hint or "Set APPLIANCE_ENGINE__REQUIRE=any to run what this box can.",
        )
    if missing:
        title = backends()[asked].title
        missed = EngineError(f"{title} does not run here: {missing}", hint=missing.hint)
        return Choices(usable, missed)
    return Choices(usable)


def _obstacle(backend: Backend, without: Collection[str]) -> EngineError | None:
    if backend.name in without:
        return EngineError(f"{backend.title} has failed since the start")
    return obstacle(backend)
