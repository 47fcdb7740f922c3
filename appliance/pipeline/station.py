"""The running station seen as a whole: one reading made of all parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from appliance.capture.camera import Camera
from appliance.pipeline.encoder import LiveEncoder, all_pictures
from appliance.pipeline.engine_room import EngineRoom
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.history import History
from appliance.pipeline.loop import Loop
from appliance.pipeline.start_up import StartUp
from appliance.pipeline.stats import CameraStats
from appliance.readings import (
    CameraReading,
    EngineReading,
    OverrideReading,
    SinkReading,
    StationReading,
    StoreReading,
)
from appliance.values import CameraState, EngineState, Health

STUCK_S = 10.0  # a loop or an engine that has not ticked for this long hangs


@dataclass(frozen=True, slots=True)
class Station:
    """The parts, and how they are.

    Attributes:
        cameras: by key, in the order of the settings.
        models: the model that looks at each camera, by its key.
        stats: figures of each camera, by its key.
        history: the last hour of each camera.
        room: brings engines up.
        loop: runs them.
        encoders: pictures for viewers.
        heartbeat: the loop's.
        state_folder: whose disk is watched.
        wall_s: wall clock, for labels.
        viewers: how many live views are open.
        started_s: wall clock of the start.
        log_lines: lines logged so far, by level.
        start_up: how the start went.
        store: how the database is.
        saving: why pictures are not kept now, by their kind; empty where they are.
        notices: what needs a person soon.
        override: what acts in the place of the settings of detection.
        sinks: how those are that get each result, by name.
        publishing: why nothing is handed on now, by publisher; empty where it is.
        look_at_clock: finds out whether somebody has set the wall clock.
    """

    cameras: Mapping[str, Camera]
    models: Mapping[str, str]
    stats: Mapping[str, CameraStats]
    history: History
    room: EngineRoom
    loop: Loop
    encoders: Sequence[LiveEncoder]
    heartbeat: Heartbeat
    state_folder: Path
    wall_s: Callable[[], float]
    viewers: Callable[[], int]
    started_s: float
    log_lines: Callable[[], Mapping[str, int]]
    start_up: StartUp
    store: Callable[[], StoreReading]
    saving: Callable[[], Mapping[str, str]] = dict
    notices: Callable[[], tuple[str, ...]] = tuple
    override: Callable[[], OverrideReading | None] = lambda: None
    sinks: Callable[[], Mapping[str, SinkReading]] = dict
    publishing: Callable[[], Mapping[str, str]] = dict
    look_at_clock: Callable[[], None] = lambda: None

    def reading(self) -> StationReading:
        """Everything at this moment."""
        cameras = tuple(self._camera(key, camera) for key, camera in self.cameras.items())
        engines = self._engines()
        loop_age_s = self.heartbeat.age_s()
        store, saving = self.store(), self.saving()
        sinks, publishing = self.sinks(), self.publishing()
        others = (*saving.values(), *(sink.trouble for sink in sinks.values()))
        troubles = (*store.troubles, *filter(None, (*others, *publishing.values())))
        health, reasons = judge(cameras, engines, loop_age_s, troubles)
        now_s = self.wall_s()
        return StationReading(
            now_s=now_s,
            health=health,
            reasons=reasons,
            cameras=cameras,
            engines=engines,
            viewers=self.viewers(),
            disk_used=psutil.disk_usage(str(self.state_folder)).percent / 100,
            memory_bytes=psutil.Process().memory_info().rss,
            uptime_s=now_s - self.started_s,
            loop_age_s=loop_age_s,
            log_lines=self.log_lines(),
            start_s=self.start_up.reached_s,
            pictures=all_pictures(self.encoders),
            store=store,
            saving=saving,
            notices=self.notices(),
            override=self.override(),
            sinks=sinks,
            publishing=publishing,
        )

    def sample(self) -> None:
        """Once a second: let the cameras' histories grow, and look at the clock."""
        self.look_at_clock()
        for key, camera in self.cameras.items():
            status = camera.status()
            live = status.state is CameraState.LIVE
            self.stats[key].sample(dropped=status.frames_dropped, live=live)
            figures = self.stats[key].figures()
            second = figures.fps_history[-1]
            # The medians reach some seconds back: of a camera that has gone they tell the past.
            if second is not None:
                self.history.add(key, second, figures.age_ms, figures.inference_ms)

    def _engines(self) -> tuple[EngineReading, ...]:
        table = self.loop.engines
        silences_s, pauses_s = table.silences_s(), table.pauses_s()
        patiences_s = table.patiences_s()
        return tuple(
            at_work(
                each,
                silence_s=silences_s.get(each.model, 0.0),
                pause_s=pauses_s.get(each.model, 0.0),
                patience_s=patiences_s.get(each.model, 0.0),
            )
            for each in self.room.readings()
        )

    def _camera(self, key: str, camera: Camera) -> CameraReading:
        status, figures = camera.status(), self.stats[key].figures()
        return CameraReading(
            key=status.key,
            name=status.name,
            model=self.models[key],
            state=status.state,
            since_s=status.since_s,
            sentence=status.sentence,
            next_step=status.next_step,
            attempt=status.attempt,
            retry_in_s=status.retry_in_s,
            fps=figures.fps,
            source_fps=status.source_fps,
            inference_ms=figures.inference_ms,
            inference_p99_ms=figures.inference_p99_ms,
            age_ms=figures.age_ms,
            age_p99_ms=figures.age_p99_ms,
            grabbed=status.frames_grabbed,
            inferred=figures.inferred,
            dropped=status.frames_dropped,
            dropped_per_minute=figures.dropped_per_minute,
            drops=status.drops,
            reconnects=status.reconnects,
            size_wh=status.size_wh,
            fps_history=figures.fps_history,
        )


def at_work(
    engine: EngineReading, *, silence_s: float = 0.0, pause_s: float = 0.0, patience_s: float = 0.0
) -> EngineReading:
    """The reading of an engine with what the loop knows of it.

    Args:
        engine: as the engine room has it.
        silence_s: for how long it has kept a camera's frame.
        pause_s: until it is tried again, after a failure.
        patience_s: for how long a picture may keep it; an engine that is slow gets more.
    """
    if engine.state is EngineState.RUNNING and silence_s > max(STUCK_S, patience_s):
        return replace(engine, doubt=f"The engine has not answered for {silence_s:.0f} s")
    if engine.state is EngineState.FAILED and pause_s:
        again = f"It is tried again in {pause_s:.0f} s."
        return replace(engine, next_step=f"{engine.next_step} {again}".strip())
    return engine


def judge(
    cameras: Sequence[CameraReading],
    engines: Sequence[EngineReading],
    loop_age_s: float,
    troubles: Sequence[str] = (),
) -> tuple[Health, tuple[str, ...]]:
    """The station in one word, and a sentence for everything that is not as it should be.

    Ready means that the engines run and the loop ticks. A camera that is away makes the station
    degraded, and so do an engine that is not what was asked for, hangs beside others that work, or
    gives no numbers, and other troubles; it stays ready: restarting it would bring nothing back. A
    better engine that is built beside one that runs is told, too.
    """
    faults = [
        f"{camera.name} is {camera.state}"
        for camera in cameras
        if camera.state in {CameraState.OFFLINE, CameraState.STALLED}
    ]
    if not cameras:
        faults.append("No camera is configured: set APPLIANCE_CAMERAS__<KEY>__URL")
    faults += [f"{engine.model}: {engine.fallback}" for engine in engines if engine.is_fallback]
    faults += [f"{engine.model}: {engine.doubt}" for engine in engines if engine.doubt]
    faults += troubles
    failed = [engine for engine in engines if engine.state is EngineState.FAILED]
    coming = [e for e in engines if e.state in {EngineState.WAITING, EngineState.BUILDING}]
    better = [e for e in engines if e.state is EngineState.RUNNING and e.under_way()]
    reasons = (
        *(f"{engine.model}: {engine.sentence}" for engine in failed),
        *(engine.under_way() or f"{engine.model}: waiting" for engine in coming),
        *faults,
        *(engine.under_way() for engine in better),
    )
    if loop_age_s > STUCK_S:
        hangs = f"The inference loop has not moved for {loop_age_s:.0f} s"
        return Health.FAILED, (hangs, *reasons)
    if failed:
        return Health.FAILED, reasons
    if coming:
        return Health.STARTING, reasons
    return (Health.DEGRADED if faults else Health.READY), reasons
