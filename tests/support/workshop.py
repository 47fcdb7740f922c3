"""An optimizer of the tiny detector, with a backend of one's own."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from appliance import tasks
from appliance.catalog.card import read_card
from appliance.engines import Backend, cpu
from appliance.optimizer import heads, measures
from appliance.optimizer.build import Optimizer
from appliance.optimizer.cache import EngineCache
from appliance.optimizer.frames import Frames
from appliance.optimizer.heads import Head
from appliance.optimizer.shelf import Shelf, Wishes
from appliance.optimizer.sidecar import EngineFile
from appliance.optimizer.verdict import Figure, Verification
from appliance.registry import plugins
from appliance.values import Precision

PROOF = Verification(
    verdict="proven",
    precision=Precision.FP16,
    device="serial",
    computes={"fp16": 60, "fp32": 3},
    reason="",
    hint="",
    frames=50,
    summary="F1 0.995 over 120 objects of the original",
    figures={
        "references": Figure("Objects of the original", 120, limit=100, is_least=True),
        "f1": Figure("Objects: F1 of the engine's", 0.995, "", 3, 0.99, is_least=True),
        "score_p99": Figure("Objects: score, 99 of 100 within", 1 / 3, digits=3),
        "row_score": Figure("Candidates: score", 1e-7, digits=3, limit=0.01),
    },
)
LIMITS = {
    Precision.FP32: {"f1": 0.99, "top1": 0.99, "box_px": 0.25, "score": 0.01},
    Precision.FP16: {"f1": 0.99, "top1": 0.99, "box_px": 1.0, "score": 0.01},
    Precision.INT8: {"f1": 0.97, "top1": 0.95, "box_px": 8.0, "score": 0.15},
}


@dataclass
class Workshop:
    """Counts what is made, and remembers what was told.

    Attributes:
        folder: of the cache.
        model_dir: card and weights.
        backend: what builds and runs; the processor's own, counted, unless it is replaced.
        precision: what is asked for.
        built: the precisions of the files that were built, in order.
        loaded: how often an engine was loaded.
        told: the progress of the last build.
    """

    folder: Path
    model_dir: Path
    precision: str = "auto"
    shipped: Path | None = None
    backend: Backend = cpu.ENGINE
    built: list[str] = field(default_factory=list)
    loaded: int = 0
    told: list[tuple[str, float | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.card = read_card(self.model_dir / "model.toml")
        self.weights = self.model_dir / "model.onnx"
        self.cache = EngineCache(self.folder)
        self.backend = replace(
            self.backend, build=self._counted(self.backend.build), load=self._load
        )

    @property
    def shelf(self) -> Shelf:
        """As the settings would make it."""
        shipped = EngineCache(self.shipped) if self.shipped else None
        return Shelf(self.cache, shipped, Wishes(self.precision, LIMITS, threads=1))

    @property
    def optimizer(self) -> Optimizer:
        """As the settings would make it."""
        return Optimizer(
            shelf=self.shelf,
            heads=plugins(heads, "HEAD", Head),
            tasks=tasks.known(),
            measures=measures.known(),
            wall_s=lambda: 1_790_000_000.0,
        )

    def build(self, frames: Path | None = None) -> EngineFile:
        """One build."""
        self.told.clear()
        return self.optimizer.build(
            self.card,
            self.weights,
            self.backend,
            frames=Frames.of(frames) if frames else None,
            progress=lambda sentence, share: self.told.append((sentence, share)),
        )

    def find(self) -> EngineFile | None:
        """What the cache has."""
        return self.cache.find(self.shelf.key(self.card, self.weights, self.backend))

    def _counted(self, build: Callable[..., Path]) -> Callable[..., Path]:
        def counted(canonical: Path, *rest: Any) -> Path:
            self.built.append(canonical.stem)
            return build(canonical, *rest)

        return counted

    def _load(self, *arguments: Any) -> Any:
        self.loaded += 1
        return cpu.ENGINE.load(*arguments)
