"""Our own HTML pages, from templates that escape every value."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from appliance.texts import Texts
from appliance.web import tabs
from appliance.web.files import made_files

HERE = Path(__file__).parent


class Pages:
    """Renders the templates in pages/ and, named with their folder, those of the tabs.

    In them `_` and `plural` say the texts.

    `file("page.js")` is where a file of `appliance.web.files` lies.

    Args:
        base: the base path.
        station_name: shown to strangers too.
        version: of the appliance.
    """

    def __init__(self, *, base: str, station_name: str, version: str) -> None:
        self._environment = Environment(
            loader=FileSystemLoader([HERE / "pages", *tabs.__path__]),
            autoescape=True,
            undefined=StrictUndefined,
        )
        self._common = {"base": base, "station_name": station_name, "version": version}
        self._environment.globals["file"] = lambda name: f"{base}/static/{made_files()[name].place}"

    def render(self, name: str, texts: Texts, **values: object) -> str:
        """One page in one language."""
        said = {"texts": texts, "_": texts.html, "plural": texts.plural}
        return self._environment.get_template(name).render(**self._common, **said, **values)
