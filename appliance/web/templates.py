"""Our own HTML pages, from templates that escape every value."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent
STATIC = HERE / "static"


class Pages:
    """Renders the templates in pages/.

    Args:
        base: the base path.
        station_name: shown to strangers too.
        version: of the appliance.
    """

    def __init__(self, *, base: str, station_name: str, version: str) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "pages"), autoescape=True, undefined=StrictUndefined
        )
        self._common = {"base": base, "station_name": station_name, "version": version}

    def render(self, name: str, **values: object) -> str:
        """One page as text."""
        return self._environment.get_template(name).render(**self._common, **values)
