"""What the System page says of the station: readings in words and figures, for its template."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from appliance.delivery.results import UpdateResult
from appliance.errors import StoreError
from appliance.pipeline.history import SPAN_S, Hour, Series
from appliance.readings import CameraReading, EngineReading, StationReading, whole_percent
from appliance.texts import Texts, marked
from appliance.values import F32, CameraState, EngineState, Health
from appliance.web.access.reach import CERTIFICATE_PATH, Reach
from appliance.web.tabs.system.plots import Line as PlotLine
from appliance.web.tabs.system.plots import Row, Window, plot, rows

LATE_S = 5  # a loop that has not ticked for so long is worth a look
TONES = {
    CameraState.OFFLINE: "fault",
    CameraState.STALLED: "warn",
    CameraState.CONNECTING: "busy",
}
CAMERAS = {
    CameraState.CONNECTING: marked("Connecting"),
    CameraState.LIVE: marked("Live"),
    CameraState.STALLED: marked("Stalled"),
    CameraState.OFFLINE: marked("Offline"),
    CameraState.ENDED: marked("Ended"),
}
ENGINES = {
    EngineState.WAITING: marked("Waiting"),
    EngineState.BUILDING: marked("Building"),
    EngineState.RUNNING: marked("Running"),
    EngineState.FAILED: marked("Failed"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the Health panel: a shape, a word, a sentence."""

    shape: str
    title: str
    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot with its figures.

    Attributes:
        title: what is plotted.
        unit: of its values, and what they mean.
        svg: the drawing, markup.
        rows: the same in figures.
    """

    title: str
    unit: str
    svg: str
    rows: Sequence[Row]


class Overview:
    """Says it in one language."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts

    def summary(self, reading: StationReading) -> str:
        """The station in a few words."""
        texts = self._texts
        if reading.health is Health.READY:
            return texts("ready")
        if reading.health is Health.STARTING:
            state = texts("starting")
        else:
            state = texts("degraded") if reading.health is Health.DEGRADED else texts("failed")
        return texts.plural(
            "{state}, {count} thing to look at",
            "{state}, {count} things to look at",
            len(reading.reasons),
            state=state,
        )

    def health_lines(self, reading: StationReading) -> list[Line]:
        """What is as it should be, and what is not, with the next step."""
        texts, age_s = self._texts, reading.loop_age_s
        soon = (self._sentence(f"{notice}.") for notice in reading.notices)
        ticked = texts("Ticked {seconds} s ago.", seconds=texts.number(age_s, 1))
        late = texts("Has not ticked for {seconds} s.", seconds=texts.number(age_s, 0))
        return [
            self._station_line(reading),
            *(Line("stalled", texts("Soon"), notice, "warn") for notice in soon),
            *(self._engine_line(engine) for engine in reading.engines),
            self._cameras_line(reading),
            *self._override_line(reading),
            Line("ok", texts("Loop"), ticked)
            if age_s < LATE_S
            else Line("stalled", texts("Loop"), late, "fault"),
        ]

    def engine_row(self, engine: EngineReading, reading: StationReading) -> dict[str, Any]:
        """One engine for its table: what was asked, what runs, and what was proven of it."""
        texts, share = self._texts, engine.progress
        times = [
            camera.inference_ms
            for camera in reading.cameras
            if camera.model == engine.model and camera.inference_ms
        ]
        line = self._engine_line(engine)
        word = texts("Fallback") if engine.is_fallback else texts(ENGINES[engine.state])
        if engine.state is EngineState.RUNNING and engine.under_way():
            word = texts("{state}, building", state=word)
        proof = self._sentence(engine.proof)
        return {
            "model": engine.model,
            "shape": line.shape,
            "tone": line.tone,
            "state": word if share is None else f"{word} {whole_percent(share)} %",
            "progress": share,
            "asked": engine.asked,
            "running": f"{engine.running} {engine.version}".strip() or "–",
            "precision": engine.precision or "–",
            "inference_ms": texts.figure(max(times, default=None)),
            "proof": proof[:1].upper() + proof[1:] or "–",
        }

    def camera_row(self, camera: CameraReading) -> dict[str, Any]:
        """One camera for its table."""
        texts = self._texts
        size = f"{camera.size_wh[0]} × {camera.size_wh[1]}, " if camera.size_wh else ""
        return {
            "name": camera.name,
            "state": camera.state,
            "state_word": texts(CAMERAS[camera.state]),
            "tone": TONES.get(camera.state, ""),
            "gets": f"{size}{texts.figure(camera.source_fps)} fps",
            "fps": texts.figure(camera.fps),
            "age": texts.figure(camera.age_ms),
            "dropped": texts.whole(camera.dropped),
            "advice": self._sentence(camera.next_step) or texts("none"),
        }

    def plots(self, reading: StationReading, hour: Hour) -> list[Plot]:
        """The last hour: three plots with one line for each camera."""
        texts = self._texts
        named = [(camera.name, hour.series[camera.key]) for camera in reading.cameras]
        window = Window(reading.now_s, SPAN_S)

        def draw(title: str, unit: str, values_of: Callable[[Series], F32]) -> Plot:
            lines = [PlotLine(name, values_of(series)) for name, series in named]
            svg = plot(f"{title}, {unit}", lines, hour.ago_s, window, texts)
            return Plot(title, unit, svg, rows(lines, texts))

        return [
            draw(texts("Rate"), texts("pictures inferred per second"), lambda series: series.fps),
            draw(texts("Age"), texts("ms from the grab to the result"), lambda it: it.age_ms),
            draw(texts("Latency"), texts("ms in the model"), lambda series: series.inference_ms),
        ]

    def _sentence(self, text: str) -> str:
        return self._texts.sentence(text)

    def _station_line(self, reading: StationReading) -> Line:
        texts = self._texts
        since = texts("Runs for {duration}.", duration=texts.duration(reading.uptime_s))
        shape, tone = {
            Health.READY: ("ok", ""),
            Health.STARTING: ("busy", "busy"),
            Health.DEGRADED: ("stalled", "warn"),
            Health.FAILED: ("offline", "fault"),
        }[reading.health]
        told = [self._sentence(f"{reason}.") for reason in reading.reasons]
        return Line(shape, texts("Station"), " ".join([*told, since]), tone)

    def _engine_line(self, engine: EngineReading) -> Line:
        texts, title = self._texts, self._texts("Engine")
        next_step = self._sentence(engine.next_step)
        if engine.state is EngineState.FAILED:
            failed = f"{self._sentence(engine.sentence)}. {next_step}"
            return Line("offline", title, failed, "fault")
        under_way = self._sentence(f"{engine.under_way()}.") if engine.under_way() else ""
        if engine.state is not EngineState.RUNNING:
            return Line("busy", title, under_way or texts("Waiting"), "busy")
        running = f"{engine.running} {engine.version} {engine.precision}"
        if engine.doubt:
            doubt = self._sentence(f"{engine.doubt}.")
            return Line("stalled", title, f"{running}. {doubt}", "warn")
        if engine.is_fallback:
            fallback = self._sentence(engine.fallback)
            told = [f"{running}. {fallback}.", next_step, under_way, self._notice(engine)]
            return Line("stalled", title, " ".join(filter(None, told)), "warn")
        asked = texts("{running}, asked: {asked}.", running=running, asked=engine.asked)
        text = " ".join(filter(None, [asked, under_way, self._notice(engine)]))
        return Line("busy", title, text, "busy") if under_way else Line("ok", title, text)

    def _notice(self, engine: EngineReading) -> str:
        notice = engine.notice
        return self._sentence(f"{notice[0].upper()}{notice[1:]}.") if notice else ""

    def _cameras_line(self, reading: StationReading) -> Line:
        texts, title = self._texts, self._texts("Cameras")
        away = [c for c in reading.cameras if c.state in {CameraState.OFFLINE, CameraState.STALLED}]
        live = sum(camera.state is CameraState.LIVE for camera in reading.cameras)
        if not reading.cameras:
            return Line("offline", title, texts("None is configured."), "warn")
        count = texts("{live} of {total} live.", live=live, total=len(reading.cameras))
        if not away:
            return Line("live", title, count)
        told = " ".join(
            f"{c.name}: {self._sentence(f'{c.sentence}.')} {self._sentence(c.next_step)}"
            for c in away
        )
        states = {camera.state for camera in away}
        worst = CameraState.OFFLINE if CameraState.OFFLINE in states else CameraState.STALLED
        return Line(worst, title, f"{count} {told}", TONES[worst])

    def _override_line(self, reading: StationReading) -> Iterator[Line]:
        texts, override = self._texts, reading.override
        if override is not None:
            told = texts(
                "By {user} since {since}, gone at the next start: {lines}.",
                user=override.user,
                since=texts.moment(override.since_s),
                lines=", ".join(override.lines),
            )
            yield Line("busy", texts("Override"), told, "busy")


def reach(station: Reach, texts: Texts) -> dict[str, Any]:
    """Where the page is found, and what browsers must trust for it."""
    try:
        authority, trouble = station.authority(), ""
    except StoreError as error:
        authority, trouble = None, texts.sentence(error.sentence())
    return {
        "places": [(place.url, texts.sentence(place.via)) for place in station.places()],
        "is_local": station.is_local,
        "path": CERTIFICATE_PATH,
        "authority": authority,
        "trouble": trouble,
    }


def update_line(update: UpdateResult | None, texts: Texts) -> Line | None:
    """What became of the newest file in the inbox; None where there never was one."""
    if update is None:
        return None
    when = texts.moment(datetime.fromisoformat(update.at).timestamp())
    message, hint = texts.sentence(update.message), texts.sentence(update.hint)
    told = f"{when}, {update.order}: {message}. {hint}".strip()
    shape, tone = ("ok", "") if update.is_done else ("offline", "fault")
    return Line(shape, texts("Last update"), told, tone)
