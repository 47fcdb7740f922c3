"""Builds engines of the TensorRT family, by what TensorRT 10 and 11 and TensorRT for RTX share.

The network is strongly typed: an engine computes in the types that the ONNX file has.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loguru import logger

from appliance.errors import DeviceError, EngineError
from appliance.runtimes import BuildOptions, Progress
from appliance.runtimes.tensorrt import TITLES, library, listener

PLAN_FILE = "engine.plan"
PARSED = 0.05  # of the whole work
# Its engines fit every GPU that it knows, and are finished by the machine that loads them.
UNBOUND = frozenset({"tensorrt_rtx"})
NO_ROOM = ("out of memory", "outofmemory", "cudaerrormemoryallocation", "insufficient memory")
NO_WORKSPACE = "insufficient workspace"
OTHERS_HINT = "Set APPLIANCE_ENGINE__BACKEND=cuda or cpu: ONNX Runtime knows more operators."


def build_engine(
    name: str, canonical: Path, folder: Path, options: BuildOptions, progress: Progress
) -> Path:
    """Build the engine of an ONNX file.

    Args:
        name: of the library, `tensorrt` or `tensorrt_rtx`.
        canonical: the file; its types are the engine's.
        folder: where the engine goes.
        options: how to build it.
        progress: told what is being done.

    Returns:
        The engine's file.

    Raises:
        EngineError: the library is not usable here, or refuses the file.
        DeviceError: the GPU has no room for the build.
    """
    return build_with(library(name), canonical, folder, options, progress)


def build_with(
    library: Any,  # noqa: ANN401
    canonical: Path,
    folder: Path,
    options: BuildOptions,
    progress: Progress,
) -> Path:
    """`build_engine`, with a library that is loaded already."""
    title = TITLES.get(library.__name__, library.__name__)
    heard = listener(library)
    heard.take()
    progress("Reading the graph", 0.0)
    builder = library.Builder(heard)
    network = builder.create_network(network_flags(library))
    parser = library.OnnxParser(network, heard)  # lives until the end: it owns the weights
    if not parser.parse_from_file(str(canonical)):
        raise _unparsed(title, parser, heard.take())
    config = builder.create_builder_config()
    _configure(library, config, options)
    timings = options.timings if library.__name__ not in UNBOUND else None
    if timings is not None:
        _recall(config, timings)
    told = f"Building the engine with {title}"
    progress(told, PARSED)
    monitor = Shares(lambda share: progress(told, PARSED + (1 - PARSED) * share))
    config.progress_monitor = _monitor(library, monitor)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _unbuilt(title, heard.take())
    if timings is not None:
        _remember(config, timings)
    path = folder / PLAN_FILE
    path.write_bytes(memoryview(plan))
    progress(told, 1.0)
    return path


def network_flags(library: Any) -> int:  # noqa: ANN401
    """What every release does by now, for those that still have to be told."""
    flags = library.NetworkDefinitionCreationFlag
    names = ("EXPLICIT_BATCH", "STRONGLY_TYPED")
    return sum(1 << int(getattr(flags, name)) for name in names if hasattr(flags, name))


def _configure(library: Any, config: Any, options: BuildOptions) -> None:  # noqa: ANN401
    """Hand the options on.

    Raises:
        EngineError: the library has no engines for the GPUs that are asked for.
    """
    if options.workspace_mb:
        pool = library.MemoryPoolType.WORKSPACE
        config.set_memory_pool_limit(pool, options.workspace_mb << 20)
    config.builder_optimization_level = options.optimization_level
    config.profiling_verbosity = library.ProfilingVerbosity.DETAILED  # tells of each layer's types
    config.clear_flag(library.BuilderFlag.TF32)  # what is to stay fp32 would be rounded as fp16 is
    if options.compatibility == "none":
        return
    if library.__name__ in UNBOUND:
        logger.info(
            "{}: compatibility {} says nothing here: every engine fits every GPU that it knows",
            TITLES[library.__name__],
            options.compatibility,
        )
        return
    level = getattr(library.HardwareCompatibilityLevel, options.compatibility.upper(), None)
    if level is None:
        raise EngineError(
            f"TensorRT {library.__version__} has no engines for {options.compatibility}",
            hint="Set APPLIANCE_ENGINE__COMPATIBILITY=none.",
        )
    config.hardware_compatibility_level = level


def _recall(config: Any, timings: Path) -> None:  # noqa: ANN401
    """Let the builder use what was measured before; not on another GPU or by another version."""
    try:
        before = timings.read_bytes()
    except FileNotFoundError:
        before = b""
    known = config.create_timing_cache(before)
    if known is not None and config.set_timing_cache(known, False):  # noqa: FBT003 - theirs
        return
    logger.info("timings: {} is of another GPU or version, and is measured again", timings.name)
    config.set_timing_cache(config.create_timing_cache(b""), False)  # noqa: FBT003


def _remember(config: Any, timings: Path) -> None:  # noqa: ANN401
    """Keep what was measured. A build that cannot be faster next time is no failed build."""
    made = timings.with_name(f"{timings.name}.new")
    try:
        timings.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(memoryview(config.get_timing_cache().serialize()))
        made.replace(timings)
    except OSError as error:
        logger.warning("timings: {} cannot be written: {}", timings.name, error.strerror)


@dataclass(slots=True)
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Shares:
    """Turns a build's nested phases into one share that never falls.

    The library calls it, maybe from threads of its own.

    Args:
        tell: told the share, 0..1, each time that it has grown by a hundredth, and its end.
    """

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell = tell
        self._told = 0.0
        self._phases: dict[str, _Phase] = {}
        self._lock = threading.Lock()

    def phase_start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins, within another one or at the top."""
        with self._lock:
            self._phases[name] = _Phase(parent, max(steps, 1))

    def step_complete(self, name: str, step: int) -> bool:
        """One of its steps, counted from 0, is done; True lets the build go on."""
        with self._lock:
            if name in self._phases:
                self._phases[name].done = step + 1
                self._update()
        return True

    def phase_finish(self, name: str) -> None:
        """It is over, done or given up."""
        with self._lock:
            self._phases.pop(name, None)

    def _update(self) -> None:
        share = min(self._share(None), 1.0)
        if share >= self._told + 0.01 or share == 1.0 > self._told:
            self._told = share
            self._tell(share)

    def _share(self, parent: str | None) -> float:
        """How much of the step under way of `parent` its phases have done."""
        return max(
            (
                (phase.done + self._share(name)) / phase.steps
                for name, phase in self._phases.items()
                if phase.parent == parent
            ),
            default=0.0,
        )


def _monitor(library: Any, shares: Shares) -> Any:  # noqa: ANN401
    """`shares` as the library wants to be watched."""

    def init(self: Any) -> None:  # noqa: ANN401
        library.IProgressMonitor.__init__(self)

    members = {
        "__init__": init,
        "phase_start": lambda _, *told: shares.phase_start(*told),
        "step_complete": lambda _, *told: shares.step_complete(*told),
        "phase_finish": lambda _, *told: shares.phase_finish(*told),
    }
    return type("Monitor", (library.IProgressMonitor,), members)()


def _unparsed(title: str, parser: Any, said: Sequence[str]) -> EngineError:  # noqa: ANN401
    """The parser's first error, with the operator that it stopped at."""
    if parser.num_errors:
        first = parser.get_error(0)
        operator = " ".join(filter(None, (first.node_operator(), first.node_name())))
        why = " ".join(first.desc().split())[:300]
        said = [": ".join(filter(None, (operator, why)))]
    return EngineError(": ".join([f"{title} cannot read the graph", *said[-1:]]), hint=OTHERS_HINT)


def _unbuilt(title: str, said: Sequence[str]) -> EngineError:
    """The library's last word says what the build ended with; any of them, that memory is short."""
    sentence = ": ".join([f"{title} cannot build the engine", *said[-1:]])
    words = " ".join(said).lower()
    if any(each in words for each in NO_ROOM):
        return DeviceError(
            sentence,
            hint="The GPU is short of memory: set APPLIANCE_ENGINE__WORKSPACE_MB lower, or run "
            "fewer models.",
        )
    if NO_WORKSPACE in words:
        return EngineError(sentence, hint="Set APPLIANCE_ENGINE__WORKSPACE_MB higher, or to 0.")
    return EngineError(sentence, hint=OTHERS_HINT)
