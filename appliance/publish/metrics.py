"""Prometheus metrics, made from one reading of the station at each scrape.

Names and units follow Prometheus' conventions: base units, `_total` for counters.
"""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from appliance.readings import CameraReading, StationReading
from appliance.values import CameraState, EngineState, Result

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)

_COUNTERS: tuple[tuple[str, str, Callable[[CameraReading], float]], ...] = (
    ("appliance_frames_grabbed", "Frames received from the camera.", lambda c: c.grabbed),
    ("appliance_frames_inferred", "Frames that went through the model.", lambda c: c.inferred),
    ("appliance_frames_dropped", "Frames replaced by a newer one.", lambda c: c.dropped),
)


class Metrics:
    """Counts results as they come and renders everything on demand.

    Args:
        read: the station's reading now.
        version: of the appliance.
    """

    def __init__(self, read: Callable[[], StationReading], *, version: str) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Readings(read, version))
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

    def observe(self, result: Result) -> None:
        """Count one result."""
        self._inference.labels(result.camera).observe(result.inference_ms / 1e3)
        self._age.labels(result.camera).observe(result.age_ms / 1e3)

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self._registry)


class _Readings(Collector):
    def __init__(self, read: Callable[[], StationReading], version: str) -> None:
        self._read = read
        self._version = version

    @override
    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily]:
        """Families from one reading."""
        reading = self._read()
        yield InfoMetricFamily(
            "appliance_build", "The appliance itself.", {"version": self._version}
        )
        yield _gauge("appliance_ready", "1 when the engines run and the loop ticks.", reading.ready)
        yield _gauge("appliance_viewers", "Open live views.", reading.viewers)
        yield from _cameras(reading)
        yield from _engines(reading)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))


def _cameras(reading: StationReading) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
    for name, text, value_of in _COUNTERS:
        family = CounterMetricFamily(name, text, labels=["camera"])
        for camera in reading.cameras:
            family.add_metric([camera.key], value_of(camera))
        yield family
    states = GaugeMetricFamily(
        "appliance_camera_state", "1 for the state a camera is in.", labels=["camera", "state"]
    )
    for camera in reading.cameras:
        for state in CameraState:
            states.add_metric([camera.key, state], float(camera.state is state))
    yield states


def _engines(reading: StationReading) -> Iterator[GaugeMetricFamily | InfoMetricFamily]:
    running = GaugeMetricFamily(
        "appliance_engine_running", "1 while a model's engine runs.", labels=["model"]
    )
    info = InfoMetricFamily("appliance_engine", "What was asked, and what runs.", labels=["model"])
    for engine in reading.engines:
        running.add_metric([engine.model], float(engine.state is EngineState.RUNNING))
        info.add_metric(
            [engine.model],
            {
                "asked": engine.asked,
                "backend": engine.backend,
                "version": engine.version,
                "precision": engine.precision,
                "verdict": engine.verdict,
            },
        )
    yield running
    yield info
