"""Prometheus metrics, made from one reading of the station at each scrape.

Names and units follow Prometheus' conventions: base units, `_total` for counters. Every label's
values come from the settings or from an enumeration, so that their number is bounded.
docs/metrics.md lists them all.
"""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from appliance.predictions import Result
from appliance.publish import Publisher
from appliance.readings import CameraReading, PictureReading, StationReading, StoreReading
from appliance.values import CameraState, Drop, EngineState, Skip

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_LOG_LEVELS = ("warning", "error", "critical")

_COUNTERS: tuple[tuple[str, str, Callable[[CameraReading], float]], ...] = (
    ("appliance_frames_grabbed", "Frames received from the camera.", lambda c: c.grabbed),
    ("appliance_frames_inferred", "Frames that went through the model.", lambda c: c.inferred),
    (
        "appliance_camera_reconnects",
        "Times the camera was live again by a new connection.",
        lambda c: c.reconnects,
    ),
)

Family = CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily


class Metrics:
    """Counts results as they come and renders everything on demand. Thread-safe.

    Args:
        read: the station's reading now.
        version: of the appliance.
    """

    def __init__(self, read: Callable[[], StationReading], *, version: str) -> None:
        # Else each histogram brings a second series with the time it was made, which nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._last_results_s: dict[str, float] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Readings(read, version, self._last_results_s))
        ProcessCollector(namespace="appliance", registry=self._registry)
        labels = ["camera"]
        self._inference = Histogram(
            "appliance_inference_seconds",
            "From submit to the engine's outputs.",
            labels,
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._age = Histogram(
            "appliance_result_age_seconds",
            "From the grab of a frame to its result.",
            labels,
            registry=self._registry,
            buckets=_SECONDS,
        )

    def start(self) -> None:
        """Nothing to begin: whoever scrapes comes by the page's own server."""

    def stop(self) -> None:
        """Nothing to end."""

    def trouble(self) -> str:
        """There is none: nobody has to be reached."""
        return ""

    def publish(self, result: Result) -> None:
        """Count one result."""
        age_s = result.age_ms / 1e3
        self._inference.labels(result.camera).observe(result.inference_ms / 1e3)
        self._age.labels(result.camera).observe(age_s)
        self._last_results_s[result.camera] = result.stamp.captured_at_s + age_s

    def render(self) -> bytes:
        """The text that Prometheus scrapes; asks the disk and /proc, so not in an event loop."""
        return generate_latest(self._registry)


class _Readings(Collector):
    """Makes families from one reading.

    Args:
        read: the station's reading now.
        version: of the appliance.
        last_results_s: wall clock of each camera's last result; grows while this exists.
    """

    def __init__(
        self,
        read: Callable[[], StationReading],
        version: str,
        last_results_s: Mapping[str, float],
    ) -> None:
        self._read = read
        self._version = version
        self._last_results_s = last_results_s

    @override
    def collect(self) -> Iterator[Family]:
        reading = self._read()
        yield InfoMetricFamily(
            "appliance_build", "The appliance itself.", {"version": self._version}
        )
        yield from _station(reading)
        yield from _store(reading.store)
        yield _sinks(reading)
        yield from _cameras(reading)
        yield self._last_results(reading)
        yield from _pictures(reading)
        yield from _engines(reading)

    def _last_results(self, reading: StationReading) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            "appliance_last_result_timestamp_seconds",
            "Wall clock of the camera's last result, since 1970; 0 before the first.",
            labels=["camera"],
        )
        for camera in reading.cameras:
            family.add_metric([camera.key], self._last_results_s.get(camera.key, 0.0))
        return family


def _station(reading: StationReading) -> Iterator[Family]:
    yield _gauge("appliance_ready", "1 when the engines run and the loop ticks.", reading.ready)
    yield _gauge("appliance_viewers", "Open live views.", reading.viewers)
    if reading.disk_used is not None:
        yield _gauge(
            "appliance_state_disk_used_ratio",
            "Share of the state folder's disk in use, 0..1.",
            reading.disk_used,
        )
    yield _gauge(
        "appliance_override_active",
        "1 while somebody has put other values in the place of the settings.",
        reading.override is not None,
    )
    paused = GaugeMetricFamily(
        "appliance_saving_paused",
        "1 while pictures of a kind are not kept, as on a full disk.",
        labels=["kind"],
    )
    for kind, trouble in reading.saving.items():
        paused.add_metric([kind], float(bool(trouble)))
    yield paused
    start = GaugeMetricFamily(
        "appliance_start_seconds",
        "From the start of the process to each stage; missing until it is reached.",
        labels=["stage"],
    )
    for stage, seconds in reading.start_s.items():
        start.add_metric([stage], seconds)
    yield start
    lines = CounterMetricFamily(
        "appliance_log_lines", "Lines logged as a warning or worse.", labels=["level"]
    )
    for level in _LOG_LEVELS:
        lines.add_metric([level], reading.log_lines.get(level, 0))
    yield lines


def _store(store: StoreReading) -> Iterator[Family]:
    yield _gauge("appliance_database_waiting", "Entries that are not written yet.", store.waiting)
    entries = CounterMetricFamily(
        "appliance_database_entries",
        "Entries of the database that were written, or lost.",
        labels=["outcome"],
    )
    outcomes = {"committed": store.committed, "failed": store.failed, "dropped": store.dropped}
    for outcome, count in outcomes.items():
        entries.add_metric([outcome], count)
    yield entries


def _sinks(reading: StationReading) -> CounterMetricFamily:
    failures = CounterMetricFamily(
        "appliance_sink_failures",
        "Results that one of the station's own parts did not take.",
        labels=["sink"],
    )
    for name, sink in reading.sinks.items():
        failures.add_metric([name], sink.failures)
    return failures


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))


def _cameras(reading: StationReading) -> Iterator[Family]:
    for name, text, value_of in _COUNTERS:
        family = CounterMetricFamily(name, text, labels=["camera"])
        for camera in reading.cameras:
            family.add_metric([camera.key], value_of(camera))
        yield family
    drops = CounterMetricFamily(
        "appliance_frames_dropped",
        "Frames that were never inferred, each for one reason.",
        labels=["camera", "reason"],
    )
    for camera in reading.cameras:
        for reason in Drop:
            drops.add_metric([camera.key, reason], camera.drops.get(reason, 0))
    yield drops
    states = GaugeMetricFamily(
        "appliance_camera_state", "1 for the state a camera is in.", labels=["camera", "state"]
    )
    for camera in reading.cameras:
        for state in CameraState:
            states.add_metric([camera.key, state], float(camera.state is state))
    yield states


def _pictures(reading: StationReading) -> Iterator[Family]:
    sent = CounterMetricFamily(
        "appliance_pictures_sent", "Live pictures sent to viewers.", labels=["camera"]
    )
    skipped = CounterMetricFamily(
        "appliance_pictures_skipped",
        "Live pictures that a newer one replaced, each for one reason.",
        labels=["camera", "reason"],
    )
    for camera in reading.cameras:
        pictures = reading.pictures.get(camera.key, PictureReading())
        sent.add_metric([camera.key], pictures.sent)
        for reason in Skip:
            skipped.add_metric([camera.key, reason], pictures.skips.get(reason, 0))
    yield sent
    yield skipped


def _engines(reading: StationReading) -> Iterator[Family]:
    running = GaugeMetricFamily(
        "appliance_engine_running", "1 while a model's engine runs.", labels=["model"]
    )
    info = InfoMetricFamily("appliance_engine", "What was asked, and what runs.", labels=["model"])
    fallback = GaugeMetricFamily(
        "appliance_engine_fallback",
        "1 while another engine runs than was asked for.",
        labels=["model", "asked", "running"],
    )
    progress = GaugeMetricFamily(
        "appliance_engine_build_progress_ratio",
        "How far the engine under way is, 0..1; 1 while none is.",
        labels=["model"],
    )
    failures = CounterMetricFamily(
        "appliance_engine_failures", "Frames on which an engine failed.", labels=["model"]
    )
    unknown = CounterMetricFamily(
        "appliance_engine_unknown_results",
        "Frames of which nothing is known: the model's output was no numbers.",
        labels=["model"],
    )
    replacements = CounterMetricFamily(
        "appliance_engine_replacements",
        "Engines that took the place of another.",
        labels=["model"],
    )
    for engine in reading.engines:
        model = [engine.model]
        running.add_metric(model, float(engine.state is EngineState.RUNNING))
        info.add_metric(
            model,
            {
                "asked": engine.asked,
                "backend": engine.backend,
                "version": engine.version,
                "precision": engine.precision,
                "verdict": engine.verdict,
            },
        )
        fallback.add_metric([*model, engine.asked, engine.backend], float(engine.is_fallback))
        is_coming = engine.state is EngineState.WAITING or bool(engine.under_way())
        progress.add_metric(model, (engine.progress or 0.0) if is_coming else 1.0)
        failures.add_metric(model, engine.failures)
        unknown.add_metric(model, engine.unknown)
        replacements.add_metric(model, engine.replacements)
    yield from (running, info, fallback, progress, failures, unknown, replacements)


PUBLISHER = Publisher(
    "metrics",
    section=None,
    make=lambda _section, outlook: Metrics(outlook.read, version=outlook.version),
)
