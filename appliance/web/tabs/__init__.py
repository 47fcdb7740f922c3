"""The tabs of the page: each is a folder, and `appliance.web.tab` says what lies in it."""

from pathlib import Path


def files(name: str) -> list[Path]:
    """The file with this name of each folder that has one, in the order of the folders' names."""
    found = [path for folder in __path__ for path in Path(folder).glob(f"*/{name}")]
    return sorted(found, key=lambda path: path.parent.name)
