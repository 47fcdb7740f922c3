"""Cameras, loop, encoder and engines, wired: everything but the web."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from appliance import __version__
from appliance.app.assembly import models_in_use, verify_folder
from appliance.app.clock import RELEASED_S, wall_s
from appliance.app.judging import criteria_of, is_by_card, usual_of
from appliance.app.loading import frames_at_once
from appliance.app.preparer import Preparer
from appliance.app.publishing import Publications
from appliance.buffers import slots_for
from appliance.capture import sources
from appliance.capture.camera import Camera
from appliance.capture.contract import CameraSpec, Source, choose
from appliance.capture.timing import Timing
from appliance.errors import ApplianceError
from appliance.pictures import Limits
from appliance.pipeline.clock_watch import ClockWatch
from appliance.pipeline.collector import Collector, Keeping
from appliance.pipeline.encoder import LiveEncoder, LivePicture, Paint, burn
from appliance.pipeline.engine_room import EngineRoom
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.history import History
from appliance.pipeline.inspector import Inspector
from appliance.pipeline.lanes import Lane
from appliance.pipeline.loop import Loop
from appliance.pipeline.overrides import Overrides
from appliance.pipeline.served import ServedModel
from appliance.pipeline.shares import Shares
from appliance.pipeline.sinks import CallbackSink, FanOut, ResultSink
from appliance.pipeline.snapshots import Snapshots
from appliance.pipeline.start_up import StartUp
from appliance.pipeline.station import Station
from appliance.pipeline.stats import CameraStats
from appliance.predictions import Result
from appliance.publish import Outlook
from appliance.publish.metrics import Metrics
from appliance.readings import StationReading, StoreReading
from appliance.registry import plugins
from appliance.resources import memory
from appliance.settings import Camera as CameraSettings
from appliance.settings import Settings, old_name_notices
from appliance.settings.old_names import name_in_use
from appliance.settings.tokens import notices
from appliance.stores import Audit
from appliance.values import Stage

CLOCK_FILE = "clock"  # in the state folder
JOIN_S = 2.0
CLOCK_NS = time.monotonic_ns


class Thread(Protocol):
    """What every part with a thread of its own offers, beside its start."""

    def stop(self) -> None:
        """End soon; idempotent."""

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False when it has not come."""


def camera_spec(key: str, camera: CameraSettings) -> CameraSpec:
    """One camera's settings in the words of capture."""
    return CameraSpec(
        key=key,
        name=camera.name or key,
        url=camera.url,
        username=camera.username,
        password=camera.password.get_secret_value() if camera.password else "",
        repeat=camera.repeat,
        paced=camera.paced,
        size_wh=camera.size_wh,
        fps=camera.fps,
        pixel_aspect=camera.pixel_aspect,
        megapixels=camera.megapixels,
        open_timeout_s=camera.open_timeout_s,
        read_timeout_s=camera.read_timeout_s,
    )


def limits_of(settings: Settings) -> Limits:
    """How large a picture may be that a person brings: no larger than there is memory for now."""
    asked = settings.inspect
    limits = Limits(asked.picture_megapixels, asked.picture_mb)
    return limits.within(memory().available_bytes)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the pipeline tells, and asks, of the rest of the station.

    Attributes:
        publish: gets each live picture, in the encoder's thread; must not block.
        publish_burned: gets those with boxes burned in, in the burner's thread; must not block.
        viewers: counts open live views; called from any thread.
        log_lines: counts what was logged, by level.
        audit: gets every engine that is put in place.
        store: the database's reading.
        age_s: seconds since the station's start.
    """

    publish: Callable[[LivePicture], None]
    publish_burned: Callable[[LivePicture], None]
    viewers: Callable[[], int]
    log_lines: Callable[[], Mapping[str, int]]
    audit: Audit
    store: Callable[[], StoreReading]
    age_s: Callable[[], float]


class Pipeline:
    """All threads of the station but the web server's.

    Args:
        settings: of the station.
        around: the rest of the station.

    Attributes:
        models: the model that looks at each camera, by its key.
        encoder: for the live view.
        burner: for streams and snapshots.
        station: everything as one reading.
        start_up: how the start went.
        history: the last hour of each camera.
        reports: the report on the engine of a model, by the model's name.
        inspector: looks at single pictures.
        snapshots: gives those of cameras.
        overrides: what acts in the place of the cameras' own criteria.
    """

    def __init__(self, settings: Settings, around: Surroundings) -> None:
        self.models = {
            key: camera.model or settings.model for key, camera in settings.cameras.items()
        }
        self.start_up = StartUp(around.age_s)
        self._audit = around.audit
        self._stats = {key: CameraStats(CLOCK_NS) for key in settings.cameras}
        self.history = History(tuple(settings.cameras), CLOCK_NS)
        self._watch = ClockWatch(
            settings.paths.state / CLOCK_FILE,
            wall_s=wall_s,
            clock_ns=CLOCK_NS,
            right_from_s=RELEASED_S,
            on_jump=lambda told: around.audit.note("clock_jump", detail=told),
        )
        self._sinks = self._receiving(settings, around)
        self._cameras = self._made(settings)
        self._heartbeat = Heartbeat(CLOCK_NS)
        criteria = criteria_of(settings)
        self._loop = Loop(
            [
                Lane(key, self._cameras[key], self.models[key], usual, is_by_card(settings, key))
                for key, usual in criteria.items()
            ],
            on_result=self._sinks.offer,
            on_failure=self._on_failure,
            heartbeat=self._heartbeat,
            clock_ns=CLOCK_NS,
            shares=Shares(settings.engine.people_share, settings.engine.background_share),
        )
        self.inspector = Inspector(self._loop.inspect, limits=partial(limits_of, settings))
        self.overrides = Overrides(
            criteria,
            usual=usual_of(settings, criteria),
            name_of=partial(name_in_use, settings),
            judge_by=self._loop.judge_by,
            labels=self._loop.labels,
            wall_s=wall_s,
        )
        self._bring_engines(settings)
        self.station = self._seen_as_a_whole(settings, around)

    @property
    def metrics(self) -> Metrics:
        """For Prometheus."""
        return self._publications.the(Metrics)

    def _receiving(self, settings: Settings, around: Surroundings) -> FanOut:
        """Who gets each result, and keeps its frame for a while."""
        self.encoder = _encoder(settings, around.publish)
        self.burner = _encoder(settings, around.publish_burned, paint=burn, name="burner")
        self.snapshots = Snapshots(frozenset(settings.cameras))
        self._collector = Collector(
            {name: verify_folder(settings, name) for name in models_in_use(settings)},
            self.models,
            Keeping(settings.verify.pictures, settings.verify.picture_days),
            on_enough=self._again,
            clock_ns=CLOCK_NS,
            watch=self._watch,
        )
        self._publications = Publications(settings, Outlook(self._reading, __version__))
        sinks: list[ResultSink] = [
            CallbackSink("stats", lambda result: self._stats[result.camera].record(result)),
            *self._publications.sinks(),
            CallbackSink("start_up", self._note_first),
            CallbackSink("engines", self._judge),
            self.encoder,
            self.burner,
            self._collector,
            self.snapshots,
        ]
        return FanOut(sinks, clock_ns=CLOCK_NS)

    def _bring_engines(self, settings: Settings) -> None:
        names = models_in_use(settings)
        self._preparer = Preparer(settings, len(names))
        self.reports = self._preparer.report
        self._room = EngineRoom(
            names,
            asked=settings.engine.backend,
            preparer=self._preparer,
            install=self._install,
            withdraw=self._loop.withdraw,
            clock_ns=CLOCK_NS,
        )

    def _seen_as_a_whole(self, settings: Settings, around: Surroundings) -> Station:
        old_names = tuple(old_name_notices(settings))
        return Station(
            cameras=self._cameras,
            models=self.models,
            stats=self._stats,
            history=self.history,
            room=self._room,
            loop=self._loop,
            encoders=(self.encoder, self.burner),
            heartbeat=self._heartbeat,
            state_folder=settings.paths.state,
            wall_s=wall_s,
            viewers=around.viewers,
            started_s=wall_s(),
            log_lines=around.log_lines,
            start_up=self.start_up,
            store=around.store,
            saving=lambda: {"verify_pictures": self._collector.trouble()},
            notices=lambda: (*notices(settings.auth.tokens, wall_s()), *old_names),
            override=self.overrides.reading,
            look_at_clock=self._watch.look,
            sinks=self._sinks.readings,
            publishing=self._publications.troubles,
        )

    def _made(self, settings: Settings) -> dict[str, Camera]:
        kinds = plugins(sources, "SOURCE", Source)
        in_flight = frames_at_once(settings, len(models_in_use(settings)))
        return {
            key: Camera(
                camera_spec(key, camera),
                choose(camera.url, kinds),
                timing=Timing(wall_s=wall_s),
                slots_count=slots_for(in_flight + self._sinks.frames_held),
                on_publish=self._wake,
            )
            for key, camera in settings.cameras.items()
        }

    def start(self) -> None:
        """Everything begins; nothing here waits for a camera or an engine."""
        self._publications.start()
        self.encoder.start()
        self.burner.start()
        self._collector.start()
        self._loop.start()
        self.inspector.start()
        self._room.start()
        for camera in self._cameras.values():
            camera.start()

    def stop(self) -> bool:
        """End everything; False if a thread is still in a call that does not return."""
        self._preparer.stop()
        parts: list[Thread] = [*self._cameras.values(), self._room, self._loop]
        parts += [self.encoder, self.burner, self._collector, self.inspector]
        for part in parts:
            part.stop()
        deadline_s = time.monotonic() + JOIN_S
        ended = [part.join(max(0.1, deadline_s - time.monotonic())) for part in parts]
        self._publications.stop()
        return all(ended)

    def _install(self, served: ServedModel) -> None:
        self._loop.install(served)
        report = served.engine.report
        what = f"{served.name}: {report.running} {report.version} {report.precision}"
        self._audit.note("model_change", detail=what)

    def _wake(self) -> None:
        self._loop.wake()

    def _reading(self) -> StationReading:
        return self.station.reading()

    def _again(self, model: str) -> None:
        self._room.again(model)

    def _note_first(self, result: Result) -> None:
        if not result.unknown:
            self.start_up.reached(Stage.FIRST_RESULT)

    def _judge(self, result: Result) -> None:
        if result.unknown:
            self._room.doubted(self.models[result.camera], result.unknown)
        else:
            self._room.recovered(self.models[result.camera])

    def _on_failure(self, served: ServedModel | None, error: ApplianceError) -> None:
        self._room.failed(served, error)


def _encoder(
    settings: Settings,
    publish: Callable[[LivePicture], None],
    *,
    paint: Paint | None = None,
    name: str = "encoder",
) -> LiveEncoder:
    return LiveEncoder(
        publish,
        fps=settings.live.fps,
        quality=settings.live.quality,
        clock_ns=CLOCK_NS,
        paint=paint,
        name=name,
    )
