"""The commands that documents tell people to type."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def blocks(page: str, heading: str) -> list[str]:
    """The blocks of shell below a heading of the second level, in their order."""
    text = (ROOT / page).read_text(encoding="utf-8").split(f"\n{heading}\n", 1)[1]
    section = re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
