"""An optimizer of the tiny detector, with a backend of one's own."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from appliance import tasks
from appliance.catalog.card import read_card
from appliance.engines import Backend, cpu
from appliance.optimizer import heads
from appliance.optimizer.build import Optimizer
from appliance.optimizer.cache import EngineCache
from appliance.optimizer.frames import Frames
from appliance.optimizer.heads import Head
from appliance.optimizer.shelf import Shelf, Wishes
from appliance.optimizer.sidecar import EngineFile
from appliance.optimizer.verdict import Limits, Verification
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
    references=120,
    f1=0.995,
    box_px_p99=0.25,
    score_p99=1 / 3,
    shift_px=0.01,
    row_box_px=0.02,
    row_score=1e-7,
    row_shift_px=0.001,
)
LIMITS = {
    Precision.FP32: Limits(0.99, 0.25, 0.01),
    Precision.FP16: Limits(0.99, 1.0, 0.01),
    Precision.INT8: Limits(0.97, 8.0, 0.15),
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
