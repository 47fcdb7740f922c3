"""What the station says of itself at one moment, for the page, the metrics and health checks.

A reading is made from the running parts, never the other way round; whoever shows or publishes
it needs to know nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.values import CameraState, Drop, EngineState, Health, Skip, Stage


def whole_percent(share: float) -> int:
    """0..1 as it is told of work under way: rounded down, so that 100 says that it is done."""
    return int(round(100 * share, 6))


@dataclass(frozen=True, slots=True)
class CameraReading:
    """One camera: its state in words, and its numbers; None is unknown.

    Attributes:
        key: as in APPLIANCE_CAMERAS__<KEY>__URL, lower case.
        name: for people.
        model: the model that looks at it.
        state: what it is doing.
        since_s: wall clock when this state began.
        sentence: what happened.
        next_step: what a person can do, or what comes next.
        attempt: connection attempts since it was last live.
        retry_in_s: until the next attempt.
        fps: inferred pictures per second, last seconds.
        source_fps: pictures per second that the camera sends.
        inference_ms: median of the last seconds.
        inference_p99_ms: 99th percentile of the last seconds.
        age_ms: from grab to result, median of the last seconds.
        age_p99_ms: 99th percentile of the last seconds.
        grabbed: frames since the start.
        inferred: frames since the start.
        dropped: frames that were never inferred since the start; the sum of `drops`.
        dropped_per_minute: of the last minute.
        size_wh: frame size, pixels.
        fps_history: inferred pictures of each of the last seconds, oldest first.
        drops: dropped frames by reason.
        reconnects: times it was live again by a new connection, since the start.
    """

    key: str
    name: str
    model: str
    state: CameraState
    since_s: float
    sentence: str = ""
    next_step: str = ""
    attempt: int = 0
    retry_in_s: float | None = None
    fps: float | None = None
    source_fps: float | None = None
    inference_ms: float | None = None
    inference_p99_ms: float | None = None
    age_ms: float | None = None
    age_p99_ms: float | None = None
    grabbed: int = 0
    inferred: int = 0
    dropped: int = 0
    dropped_per_minute: int = 0
    size_wh: tuple[int, int] | None = None
    fps_history: tuple[float | None, ...] = ()
    drops: Mapping[Drop, int] = field(default_factory=dict)
    reconnects: int = 0


@dataclass(frozen=True, slots=True)
class EngineReading:
    """One model's engine: what was asked, what runs, and whether that was proven.

    Attributes:
        model: the model's name.
        state: what it is doing.
        asked: the setting's word.
        running: for a person, as "ONNX Runtime CPU"; empty while nothing runs.
        backend: the backend's name; empty while nothing runs.
        version: of the library that runs.
        precision: as "fp32".
        verdict: "proven", "unproven" or "" while unknown.
        proof: the verdict in a sentence, with its figures.
        fallback: why what runs, or is coming, is not what was asked for; empty if it is.
        sentence: what is under way, beside what runs, or what went wrong.
        next_step: what a person can do.
        progress: 0..1 of what is under way; None where unknown.
        notice: what a person should know, and nothing has to be done about it.
        doubt: what was wrong with its latest results, though the engine runs; empty if nothing.
        failures: frames on which an engine of this model failed, since the start.
        unknown: frames of which nothing is known, since the start: its output was no numbers.
        replacements: engines that took the place of another, since the start.
    """

    model: str
    state: EngineState
    asked: str
    running: str = ""
    backend: str = ""
    version: str = ""
    precision: str = ""
    verdict: str = ""
    proof: str = ""
    fallback: str = ""
    sentence: str = ""
    next_step: str = ""
    progress: float | None = None
    notice: str = ""
    doubt: str = ""
    failures: int = 0
    unknown: int = 0
    replacements: int = 0

    @property
    def is_fallback(self) -> bool:
        """Something else runs than was asked for."""
        return self.state is EngineState.RUNNING and bool(self.fallback)

    def under_way(self) -> str:
        """As "Building bright-spots, 43 %: Comparing with the original"; empty where nothing is."""
        if self.state is EngineState.FAILED or not self.sentence:
            return ""
        what = f"Building {self.model}"
        if self.progress is not None:
            what = f"Building {self.model}, {whole_percent(self.progress)} %"
        why = f" ({self.fallback})" if self.fallback and not self.is_fallback else ""
        return f"{what}: {self.sentence}{why}"


@dataclass(frozen=True, slots=True)
class PictureReading:
    """Live pictures of one camera, since the start.

    Attributes:
        sent: to all viewers together.
        skips: pictures that a viewer was to see and did not, by reason.
    """

    sent: int = 0
    skips: Mapping[Skip, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OverrideReading:
    """What a person has put in the place of the settings, until the next start.

    Attributes:
        confidence: score from which something counts.
        classes: those that count, as a variable holds them; empty: all.
        user: who did it.
        since_s: wall clock.
        lines: variables that make it last, each as NAME=VALUE.
    """

    confidence: float
    classes: str
    user: str
    since_s: float
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoreReading:
    """The database.

    Attributes:
        troubles: what is wrong, each a sentence.
        waiting: entries that are not written yet.
        committed: entries written since the start.
        failed: entries that could not be written, each for a reason of its own.
        dropped: entries that found no room while the database could not be written.
    """

    troubles: tuple[str, ...] = ()
    waiting: int = 0
    committed: int = 0
    failed: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class SinkReading:
    """One of those that get each result.

    Attributes:
        failures: results that it did not take, since the start.
        trouble: why it takes none now, a sentence; empty while it does.
    """

    failures: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class StationReading:
    """The whole station.

    Attributes:
        now_s: wall clock of the reading.
        health: in one word.
        reasons: why it is not simply ready, each a sentence.
        cameras: in the order of the settings.
        engines: one for each model in use.
        viewers: open live views.
        disk_used: share of the state folder's disk in use, 0..1.
        memory_bytes: resident memory of the process.
        uptime_s: since the process started.
        loop_age_s: since the inference loop last ticked.
        log_lines: lines logged since the start, by level.
        start_s: when each stage of the start was reached, seconds since the process started.
        pictures: live pictures by the camera's key; without those that nobody looked at.
        notices: what needs a person soon, though everything is as it should be.
        store: the database.
        saving: why pictures are not kept now, a sentence by their kind; empty where they are.
        override: what acts in the place of the cameras' own criteria; None: they do.
        sinks: those that get each result, by name.
        publishing: why nothing is handed on now, a sentence by publisher; empty where it is.
    """

    now_s: float
    health: Health
    reasons: tuple[str, ...]
    cameras: tuple[CameraReading, ...]
    engines: tuple[EngineReading, ...]
    viewers: int = 0
    disk_used: float | None = None
    memory_bytes: int = 0
    uptime_s: float = 0.0
    loop_age_s: float = 0.0
    log_lines: Mapping[str, int] = field(default_factory=dict)
    start_s: Mapping[Stage, float] = field(default_factory=dict)
    pictures: Mapping[str, PictureReading] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    store: StoreReading = StoreReading()
    saving: Mapping[str, str] = field(default_factory=dict)
    override: OverrideReading | None = None
    sinks: Mapping[str, SinkReading] = field(default_factory=dict)
    publishing: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """The engine runs and the loop ticks; offline cameras do not change that."""
        return self.health in {Health.READY, Health.DEGRADED}
