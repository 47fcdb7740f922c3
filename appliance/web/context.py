"""What the tabs of the page may show and ask. Knows no Gradio, so it is there at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.delivery.results import UpdateResult
from appliance.logs import Ring
from appliance.pictures import Limits
from appliance.pipeline.criteria import Criteria
from appliance.pipeline.hardware import HardwareReading
from appliance.pipeline.history import Hour
from appliance.pipeline.inspector import Inspector
from appliance.pipeline.snapshots import Snapshots
from appliance.readings import StationReading
from appliance.redaction import Redactor
from appliance.settings import Role, Row
from appliance.stores import Audit
from appliance.stores.audit import AuditEvent
from appliance.texts import Texts
from appliance.web.access.reach import Reach
from appliance.web.access.sessions import Sessions
from appliance.web.templates import Pages


@dataclass(frozen=True, slots=True)
class TabContext:
    """What tabs may show and ask.

    Attributes:
        base: the base path.
        pages: renders our templates.
        texts: of the language that these tabs are in.
        reading: the station now.
        roles: of every user, by name.
        settings: what is in effect, fit to be shown.
        ring: the last log lines.
        versions: of the appliance and the libraries that matter, by name; slow the first time.
        state_folder: whose disk is shown.
        history: the last hour of each camera.
        hardware: the machine now; takes some milliseconds.
        reach: how people get to the page.
        limits: of pictures that people bring, as they are now.
        usual: what counts as seen by all cameras together, by the settings.
        sessions: who is signed in.
        audit: gets what is done here.
        events: the newest events of the audit log, so many at most; raises a StoreError.
        reports: the file that tells how the engine of a model in use was verified, by the model's
            name; None where there is none.
        last_update: what became of the newest file in the inbox; None where there was none.
        inspector: looks at single pictures.
        snapshots: gives the next pictures of cameras.
        models: names of those in use.
        station_name: may be empty.
        sidecars: texts of the engines' sidecars, by a name for each.
        redactor: knows the station's secrets.
    """

    base: str
    pages: Pages
    texts: Texts
    reading: Callable[[], StationReading]
    roles: Mapping[str, Role]
    settings: Sequence[Row]
    ring: Ring
    versions: Callable[[], Mapping[str, str]]
    state_folder: str
    history: Callable[[], Hour]
    hardware: Callable[[], HardwareReading]
    reach: Reach
    limits: Callable[[], Limits]
    usual: Criteria
    sessions: Sessions
    audit: Audit
    events: Callable[[int], Sequence[AuditEvent]]
    reports: Callable[[str], Path | None]
    last_update: Callable[[], UpdateResult | None]
    inspector: Inspector
    snapshots: Snapshots
    models: frozenset[str]
    station_name: str
    sidecars: Callable[[], Mapping[str, str]]
    redactor: Redactor

    def may(self, user: str | None, role: Role) -> bool:
        """Whether the person behind an event has at least this role."""
        held = self.roles.get(user or "")
        return held is not None and held.covers(role)

    def report(self, model: str) -> Path | None:
        """The report on the engine of a model in use; None where there is none."""
        path = self.reports(model)
        return path if path is not None and path.is_file() else None
