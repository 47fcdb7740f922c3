"""`appliance build`: the engines of the models in use, one after the other."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from appliance.app.assembly import library_of, models_in_use, optimizer_of
from appliance.errors import StoreError
from appliance.optimizer.build import Progress
from appliance.settings import Settings

VERIFY = "verify"  # a folder of frames beside the weights


def build_models(
    settings: Settings, names: Sequence[str], frames: Path | None, progress: Progress
) -> Iterator[str]:
    """Build each model, from the cache where it is there; a sentence for each.

    Args:
        settings: of the station.
        names: models; those in use where empty.
        frames: pictures or a video to verify with; a model's own where None.
        progress: told what is under way, and how far.

    Raises:
        ApplianceError: a model cannot be built, or its engine cannot be kept.
    """
    library, optimizer = library_of(settings), optimizer_of(settings)
    for name in names or models_in_use(settings):
        card, weights = library.card(name), library.weights(name)
        own = settings.paths.state / "models" / name / VERIFY
        chosen = frames or (own if own.is_dir() else None)
        try:
            engine = optimizer.build(card, weights, frames=chosen, progress=progress)
        except OSError as error:
            raise StoreError(
                f"{name}: the engine cannot be kept in {settings.paths.cache} ({error.strerror})",
                hint="Free space there and make it writable, or name another folder in "
                "APPLIANCE_PATHS__CACHE.",
            ) from error
        backend = f"{engine.key.backend} {engine.key.backend_version} {engine.key.precision}"
        yield f"{name}: {backend}, {engine.verification.sentence()}"
