"""One model on one backend on its way into the cache."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from appliance.engines import Backend
from appliance.errors import EngineError
from appliance.optimizer.heads import Head
from appliance.optimizer.key import EngineKey
from appliance.optimizer.report import write_report
from appliance.optimizer.rungs import Made, Maker
from appliance.optimizer.shelf import may_prove
from appliance.optimizer.sidecar import REPORT, REPORT_FIGURES, EngineFile
from appliance.runtimes import Progress
from appliance.values import ModelContract


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be made, and from what.

    Attributes:
        key: the engine's.
        head: the model's.
        maker: makes it in one precision.
        classes: how many the model tells apart; 0 where it does not say.
        names: of the classes, as the file says them.
        now_s: wall clock, for the report.
    """

    key: EngineKey
    head: Head
    maker: Maker
    classes: int
    names: tuple[str, ...]
    now_s: float

    def is_served_by(self, found: EngineFile, *, insists: bool) -> bool:
        """Whether nothing is left to do."""
        proof, frames = found.verification, self.maker.frames
        if proof.device != self.maker.serial:
            return False
        return not (insists and proof.verdict == "unproven") and not may_prove(found, frames)

    def judged(self, found: EngineFile, progress: Progress) -> Made:
        """An engine that is there, compared on this device."""
        precision = found.verification.precision
        return self.maker.judge(
            found.path, found.contract, precision, self.maker.parted(precision)[1], progress
        )

    def kept(self, folder: Path, contract: ModelContract, makes: Sequence[Made]) -> EngineFile:
        """The last of `makes` in `folder`, with its report, and nothing else there."""
        chosen = makes[-1]
        assert chosen.path is not None  # noqa: S101 - what was not built is refused
        path = Path(shutil.copy(chosen.path, folder))
        self.report(folder, makes)
        clear(folder, keep=(path.name,))
        return EngineFile(
            path=path,
            key=self.key,
            contract=contract,
            verification=chosen.verification,
            refused=tuple(made.verification for made in makes if made.is_refused),
            memory_bytes=chosen.memory_bytes,
            classes=self.classes,
            names=self.names,
        )

    def report(self, folder: Path, makes: Sequence[Made]) -> None:
        """Write the report of everything that was tried."""
        card, backend = self.maker.card, self.maker.backend
        facts = {
            "Model": f"{card.title} ({card.name})",
            "Weights": self.key.weights_sha256,
            "Runs on": f"{backend.title} {self.key.backend_version}",
            "Device": _device_text(backend),
            "Asked for": f"precision {self.key.precision}",
            "Compared": datetime.fromtimestamp(self.now_s, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        }
        for made in makes:
            if made.inference_ms is not None:
                name = f"One inference, {made.verification.precision}"
                facts[name] = f"{made.inference_ms:.2f} ms at best"
        trials = [made.trial for made in makes]
        write_report(folder, self.maker.measure, facts, trials, card.table.labels)

    def failure(self, makes: Sequence[Made]) -> EngineError:
        """Why there is no engine: what the widest rung says, which tells most."""
        last = makes[-1].verification
        return EngineError(
            f"{self.key.model}: {self.maker.backend.title}, {last.precision}: {last.reason}",
            hint=last.hint,
        )


def _device_text(backend: Backend) -> str:
    try:
        device = backend.device()
    except EngineError as error:
        return f"none here: {error}"
    return " ".join(filter(None, (device.name, device.arch, device.software)))


def clear(folder: Path, *, keep: Sequence[str]) -> None:
    """Leave the report, and the files named."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in {*keep, REPORT, REPORT_FIGURES}:
            path.unlink()
