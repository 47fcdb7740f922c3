"""Rows of a table, and the same as JSON with machine, versions and commit."""

import json
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from appliance import resources

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure.

    Attributes:
        name: what was measured.
        value: the figure.
        unit: of the figure; "" for a ratio.
        goal: as "<= 0.6"; "" where there is none.
        met: whether the goal was reached; None without one.
        detail: the figures behind it.
    """

    name: str
    value: float
    unit: str = ""
    goal: str = ""
    met: bool | None = None
    detail: dict[str, Any] = field(default_factory=dict)


def at_least(name: str, value: float, goal: float, **detail: Any) -> Row:  # noqa: ANN401
    """A ratio that should be large."""
    return Row(name, value, "", f">= {goal}", value >= goal, detail)


def at_most(name: str, value: float, goal: float, *, unit: str = "", **detail: Any) -> Row:  # noqa: ANN401
    """A figure that should be small."""
    return Row(name, value, unit, f"<= {goal} {unit}".strip(), value <= goal, detail)


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table("Measure", "Value", "Goal", "", "Behind it", box=None, pad_edge=False)
    for row in rows:
        verdict = "" if row.met is None else ("met" if row.met else "MISSED")
        behind = ", ".join(f"{key} {_short(value)}" for key, value in row.detail.items())
        table.add_row(row.name, f"{row.value:.3g} {row.unit}".strip(), row.goal, verdict, behind)
    Console(highlight=False, width=160).print(table)


def write(name: str, rows: Sequence[Row], versions: dict[str, str]) -> Path:
    """Keep the figures with everything that is needed to judge them."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y-%m-%d')}-{name}.json"
    document = {
        "machine": {
            "processor": _processor(),
            "cores": resources.cores().physical,
            "memory_gb": round(resources.memory().total_bytes / 1e9, 1),
            "system": f"{platform.system()} {platform.release()}",
        },
        "versions": versions,
        "commit": _commit(),
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def _short(value: Any) -> str:  # noqa: ANN401
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603
