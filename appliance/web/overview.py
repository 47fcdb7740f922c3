"""What the System page says of the station: readings in words and figures, for its template."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import StoreError
from appliance.pipeline.hardware import Gpu, HardwareReading, Temperature
from appliance.pipeline.history import SPAN_S, Hour, Series
from appliance.readings import CameraReading, EngineReading, StationReading, whole_percent
from appliance.values import F32, CameraState, EngineState, Health
from appliance.web.plots import Line as PlotLine
from appliance.web.plots import Row, Window, figure, plot, rows, time_of_day
from appliance.web.reach import CERTIFICATE_PATH, Reach

LATE_S = 5  # a loop that has not ticked for so long is worth a look
DISK_FULL = 0.9
GPU_BACKENDS = ("tensorrt", "cuda", "rtx")
TONES = {
    CameraState.OFFLINE: "fault",
    CameraState.STALLED: "warn",
    CameraState.CONNECTING: "busy",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the Health panel: a shape of the sprite, a word, a sentence."""

    shape: str
    title: str
    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of the machine.

    Attributes:
        title: what is measured.
        figure: with its unit.
        rest: what follows in smaller letters.
        share: 0..1 for a bar; None draws none.
        tone: "warn" where it needs a look.
    """

    title: str
    figure: str
    rest: str = ""
    share: float | None = None
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


def summary(reading: StationReading) -> str:
    """The station in a few words."""
    if reading.health is Health.READY:
        return "ready"
    count = len(reading.reasons)
    return f"{reading.health}, {count} thing{'s' * (count != 1)} to look at"


def health_lines(reading: StationReading) -> list[Line]:
    """What is as it should be, and what is not, with the next step."""
    return [
        _station_line(reading),
        *(Line("stalled", "Soon", f"{notice}.", "warn") for notice in reading.notices),
        *(_engine_line(engine) for engine in reading.engines),
        _cameras_line(reading),
        *_override_line(reading),
        Line("ok", "Loop", f"Ticked {reading.loop_age_s:.1f} s ago.")
        if reading.loop_age_s < LATE_S
        else Line("stalled", "Loop", f"Has not ticked for {reading.loop_age_s:.0f} s.", "fault"),
    ]


def engine_row(engine: EngineReading, reading: StationReading) -> dict[str, Any]:
    """One engine for its table: what was asked, what runs, and what was proven of it."""
    times = [c.inference_ms for c in reading.cameras if c.model == engine.model and c.inference_ms]
    line = _engine_line(engine)
    share = engine.progress
    word = "Fallback" if engine.is_fallback else str(engine.state).capitalize()
    if engine.state is EngineState.RUNNING and engine.under_way():
        word += ", building"
    return {
        "model": engine.model,
        "shape": line.shape,
        "tone": line.tone,
        "state": word if share is None else f"{word} {whole_percent(share)} %",
        "progress": share,
        "asked": engine.asked,
        "running": f"{engine.running} {engine.version}".strip() or "–",
        "precision": engine.precision or "–",
        "inference_ms": figure(max(times, default=None)),
        "proof": engine.proof[:1].upper() + engine.proof[1:] or "–",
    }


def camera_row(camera: CameraReading) -> dict[str, Any]:
    """One camera for its table."""
    size = f"{camera.size_wh[0]} × {camera.size_wh[1]}, " if camera.size_wh else ""
    return {
        "name": camera.name,
        "state": camera.state,
        "state_word": camera.state.capitalize(),
        "tone": TONES.get(camera.state, ""),
        "gets": f"{size}{figure(camera.source_fps)} fps",
        "fps": figure(camera.fps),
        "age": figure(camera.age_ms),
        "dropped": camera.dropped,
        "advice": camera.next_step or "none",
    }


def plots(reading: StationReading, hour: Hour) -> list[Plot]:
    """The last hour: three plots with one line for each camera."""
    named = [(camera.name, hour.series[camera.key]) for camera in reading.cameras]
    window = Window(reading.now_s, SPAN_S)

    def draw(title: str, unit: str, values_of: Callable[[Series], F32]) -> Plot:
        lines = [PlotLine(name, values_of(series)) for name, series in named]
        return Plot(title, unit, plot(f"{title}, {unit}", lines, hour.ago_s, window), rows(lines))

    return [
        draw("Rate", "pictures inferred per second", lambda series: series.fps),
        draw("Age", "ms from the grab to the result", lambda series: series.age_ms),
        draw("Latency", "ms in the model", lambda series: series.inference_ms),
    ]


def measures(
    hardware: HardwareReading, reading: StationReading, state_folder: str
) -> Iterator[Measure]:
    """The machine, and what the station takes of it."""
    yield Measure(
        f"Disk of {state_folder}",
        _gb(hardware.disk_free_bytes),
        f"GB free of {_gb(hardware.disk_total_bytes)} GB",
        hardware.disk_used,
        "warn" if hardware.disk_used >= DISK_FULL else "",
    )
    yield Measure(
        "Memory of the machine",
        _gb(hardware.memory_used_bytes),
        f"of {_gb(hardware.memory_total_bytes)} GB in use",
        hardware.memory_used_bytes / hardware.memory_total_bytes,
    )
    yield Measure("Memory of the station", f"{hardware.station_bytes / 1e6:.0f}", "MB")
    first, *others = (f"{load:.1f}" for load in hardware.load)
    yield Measure("Load of 1, 5, 15 min", first, f"{' '.join(others)} on {hardware.cores} cores")
    yield from map(_temperature, hardware.temperatures)
    for gpu in hardware.gpus:
        yield from _gpu(gpu)
    if not hardware.gpus and any(
        backend in engine.asked for engine in reading.engines for backend in GPU_BACKENDS
    ):
        yield Measure("NVIDIA GPU", "none", "found", tone="warn")
    yield Measure("Open live views", str(reading.viewers))


def reach(station: Reach) -> dict[str, Any]:
    """Where the page is found, and what browsers must trust for it."""
    try:
        authority, trouble = station.authority(), ""
    except StoreError as error:
        authority, trouble = None, error.sentence()
    return {
        "places": station.places(),
        "is_local": station.is_local,
        "path": CERTIFICATE_PATH,
        "authority": authority,
        "trouble": trouble,
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


def _station_line(reading: StationReading) -> Line:
    since = f"Runs for {duration(reading.uptime_s)}."
    shape, tone = {
        Health.READY: ("ok", ""),
        Health.STARTING: ("busy", "busy"),
        Health.DEGRADED: ("stalled", "warn"),
        Health.FAILED: ("offline", "fault"),
    }[reading.health]
    return Line(shape, "Station", " ".join([f"{r}." for r in reading.reasons] + [since]), tone)


def _engine_line(engine: EngineReading) -> Line:
    if engine.state is EngineState.FAILED:
        return Line("offline", "Engine", f"{engine.sentence}. {engine.next_step}", "fault")
    under_way = f"{engine.under_way()}." if engine.under_way() else ""
    if engine.state is not EngineState.RUNNING:
        return Line("busy", "Engine", under_way or "Waiting", "busy")
    running = f"{engine.running} {engine.version} {engine.precision}"
    if engine.is_fallback:
        told = [f"{running}. {engine.fallback}.", engine.next_step, under_way, _notice(engine)]
        return Line("stalled", "Engine", " ".join(filter(None, told)), "warn")
    told = [f"{running}, asked: {engine.asked}.", under_way, _notice(engine)]
    text = " ".join(filter(None, told))
    return Line("busy", "Engine", text, "busy") if under_way else Line("ok", "Engine", text)


def _notice(engine: EngineReading) -> str:
    return f"{engine.notice[0].upper()}{engine.notice[1:]}." if engine.notice else ""


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
    return Line(worst, "Cameras", f"{live} of {total} live. {told}", TONES[worst])


def _override_line(reading: StationReading) -> Iterator[Line]:
    override = reading.override
    if override is not None:
        since = time_of_day(override.since_s, "%d %b %H:%M")
        told = f"By {override.user} since {since}, gone at the next start: "
        yield Line("busy", "Override", f"{told}{', '.join(override.lines)}.", "busy")


def _temperature(sensor: Temperature) -> Measure:
    is_hot = sensor.high_celsius is not None and sensor.celsius >= sensor.high_celsius
    limit = "" if sensor.high_celsius is None else f", hot from {sensor.high_celsius:.0f}"
    return Measure(
        f"Temperature, {sensor.name}",
        f"{sensor.celsius:.0f}",
        f"°C{limit}",
        tone="warn" if is_hot else "",
    )


def _gpu(gpu: Gpu) -> Iterator[Measure]:
    heat = "" if gpu.celsius is None else f", {gpu.celsius:.0f} °C"
    load = "–" if gpu.load is None else f"{gpu.load:.0%}".removesuffix("%")
    yield Measure(f"{gpu.name}", load, f"% busy{heat}", gpu.load)
    if gpu.memory_used_bytes is not None and gpu.memory_total_bytes:
        yield Measure(
            f"Memory of {gpu.name}",
            _gb(gpu.memory_used_bytes),
            f"of {_gb(gpu.memory_total_bytes)} GB in use",
            gpu.memory_used_bytes / gpu.memory_total_bytes,
        )


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f}"
