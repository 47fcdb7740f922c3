"""System: what a person without a shell needs to know of the station."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from appliance.readings import CameraReading, EngineReading, StationReading
from appliance.settings import Role
from appliance.values import CameraState, EngineState, Health
from appliance.web.context import TabContext
from appliance.web.tabs import Tab

PERIOD_S = 5
LOG_LINES = 200
_TONES = {
    CameraState.OFFLINE: "fault",
    CameraState.STALLED: "warn",
    CameraState.CONNECTING: "busy",
}
_LOG_TONES = {"warning": "warn", "error": "fault", "critical": "fault"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the Health panel: a shape of the sprite, a word, a sentence."""

    shape: str
    title: str
    text: str
    tone: str = ""


def build(context: TabContext, page: gr.Blocks) -> None:
    """One document, rendered anew every few seconds for those who may see it."""
    document = gr.Markdown(sanitize_html=False, latex_delimiters=[], elem_classes="bare")
    timer = gr.Timer(PERIOD_S, active=False)

    def refresh(request: gr.Request) -> str:
        return render(context) if context.may(request.username, Role.OPERATOR) else ""

    def begin(request: gr.Request) -> tuple[str, gr.Timer]:
        return refresh(request), gr.Timer(active=context.may(request.username, Role.OPERATOR))

    page.load(begin, outputs=[document, timer], show_progress="hidden")
    timer.tick(refresh, outputs=document, show_progress="hidden")


def render(context: TabContext) -> str:
    """The page's HTML, every value escaped by the template."""
    reading = context.reading()
    text = context.pages.render(
        "system.html",
        health=_summary(reading),
        lines=health_lines(reading),
        engines=[_engine(engine, reading) for engine in reading.engines],
        cameras=[_camera(camera) for camera in reading.cameras],
        disk_percent=_number(None if reading.disk_used is None else reading.disk_used * 100, 0),
        memory_mb=_number(reading.memory_bytes / 1e6, 0),
        viewers=reading.viewers,
        state_folder=context.state_folder,
        versions=context.versions,
        settings=context.settings,
        set_count=sum(not row.is_default for row in context.settings),
        log=context.ring.lines()[-LOG_LINES:],
        tones=_LOG_TONES,
    )
    # Markdown takes an indented line for code, and an empty one for the end of the HTML.
    return "".join(line.strip() for line in text.splitlines())


def health_lines(reading: StationReading) -> list[Line]:
    """What is as it should be, and what is not, with the next step."""
    return [_engine_line(engine) for engine in reading.engines] + [
        _cameras_line(reading),
        Line("ok", "Loop", f"Ticked {reading.loop_age_s:.1f} s ago.")
        if reading.loop_age_s < PERIOD_S
        else Line("stalled", "Loop", f"Has not ticked for {reading.loop_age_s:.0f} s.", "fault"),
        Line("ok", "Running", f"For {duration(reading.uptime_s)}."),
    ]


def _summary(reading: StationReading) -> str:
    if reading.health is Health.READY:
        return "ready"
    count = len(reading.reasons)
    return f"{reading.health}, {count} thing{'s' * (count != 1)} to look at"


def _engine_line(engine: EngineReading) -> Line:
    if engine.state is EngineState.RUNNING:
        running = f"{engine.running} {engine.version} {engine.precision}"
        if engine.sentence:
            return Line("stalled", "Engine", f"{running}. {engine.sentence}.", "warn")
        return Line("ok", "Engine", f"{running}, asked: {engine.asked}.")
    if engine.state is EngineState.FAILED:
        return Line("offline", "Engine", f"{engine.sentence}. {engine.next_step}", "fault")
    share = "" if engine.progress is None else f" {engine.progress:.0%}"
    return Line("busy", "Engine", f"{engine.sentence or 'Waiting'}{share}", "busy")


def _cameras_line(reading: StationReading) -> Line:
    away = [c for c in reading.cameras if c.state in {CameraState.OFFLINE, CameraState.STALLED}]
    live = sum(camera.state is CameraState.LIVE for camera in reading.cameras)
    total = len(reading.cameras)
    if not total:
        return Line("offline", "Cameras", "None is configured.", "warn")
    if not away:
        return Line("live", "Cameras", f"{live} of {total} live.")
    told = " ".join(f"{c.name}: {c.sentence}. {c.next_step}" for c in away)
    states = {camera.state for camera in away}
    worst = CameraState.OFFLINE if CameraState.OFFLINE in states else CameraState.STALLED
    return Line(worst, "Cameras", f"{live} of {total} live. {told}", _TONES[worst])


def _engine(engine: EngineReading, reading: StationReading) -> dict[str, Any]:
    times = [c.inference_ms for c in reading.cameras if c.model == engine.model and c.inference_ms]
    running = f"{engine.running} {engine.precision}" if engine.running else str(engine.state)
    return {
        "model": engine.model,
        "asked": engine.asked,
        "running": running,
        "inference_ms": _number(max(times) if times else None, 1),
        "proof": (engine.proof[:1].upper() + engine.proof[1:]) or engine.sentence,
    }


def _camera(camera: CameraReading) -> dict[str, Any]:
    size = f"{camera.size_wh[0]} × {camera.size_wh[1]}, " if camera.size_wh else ""
    return {
        "name": camera.name,
        "state": camera.state,
        "state_word": camera.state.capitalize(),
        "tone": _TONES.get(camera.state, ""),
        "gets": f"{size}{_number(camera.source_fps, 1)} fps",
        "fps": _number(camera.fps, 1),
        "age": _number(camera.age_ms, 0),
        "dropped": camera.dropped,
        "advice": camera.next_step or "none",
    }


def duration(seconds: float) -> str:
    """Two units, as "7 h 53 min"."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


TAB = Tab("System", 90, Role.OPERATOR, build)
