"""What each rule of an engine's key says at its VERSION: tests/golden/versions.json.

`make versions` writes it anew, and refuses to where a rule says something else and the VERSION
beside its code has not moved. A case that was not there before is taken as it is.
"""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance import engines
from appliance.engines import Backend
from appliance.optimizer.key import versions_of
from appliance.registry import plugins
from tests.support.detectors import made_model
from tests.support.heads import HEADS
from tests.support.rules import RULES
from tests.support.told import Said, differences

RECORD = Path(__file__).parents[1] / "golden" / "versions.json"


def versions() -> dict[str, int]:
    """Of every rule that is in some engine's key."""
    _, card = made_model("yolov8")
    found: dict[str, int] = {}
    for backend in plugins(engines, "ENGINE", Backend):
        for name, each in HEADS.items():
            found |= versions_of(replace(card, head=name, task=each.task), backend)
    return found


def said_by(rule: str) -> Said:
    """What a rule says now."""
    with tempfile.TemporaryDirectory() as folder:
        return RULES[rule](Path(folder))


def recorded() -> dict[str, Any]:
    """The record: by rule its version, and what it said."""
    found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


def renew() -> int:
    """Write the record; the exit code."""
    before = recorded() if RECORD.exists() else {}
    now = {
        rule: {"version": version, "says": said_by(rule)} for rule, version in versions().items()
    }
    stuck = [
        rule
        for rule, found in before.items()
        if rule in now
        and found["version"] == now[rule]["version"]
        and differences(found["says"], now[rule]["says"])
    ]
    for rule in stuck:
        sys.stderr.write(f"{rule}: says something else; move the VERSION beside its code\n")
    if stuck:
        return 1
    lines = [
        f'{json.dumps(rule)}: {{"version": {found["version"]}, "says": {{\n'
        + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in found["says"].items())
        + "\n}}"
        for rule, found in sorted(now.items())
    ]
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(renew())
