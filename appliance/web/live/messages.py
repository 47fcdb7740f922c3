"""What the live view's WebSocket says: readings as JSON, pictures as JSON and a JPEG.

A picture is one binary message: four bytes with the length of the JSON, big-endian, the JSON,
the JPEG. Prediction and picture travel together, so that they always belong together.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from appliance import tasks
from appliance.pipeline.encoder import LivePicture
from appliance.readings import CameraReading, EngineReading, OverrideReading, StationReading
from appliance.texts import Texts
from appliance.values import EngineState

PROTOCOL = 2  # moves when a page of before would misread what it is sent


def picture_message(picture: LivePicture, *, now_ns: int) -> bytes:
    """One picture with its predictions.

    Args:
        picture: encoded.
        now_ns: monotonic; the age that is told is that of the sending.
    """
    result = picture.result
    task = tasks.known()[result.task]
    header = {
        "camera": result.camera,
        "sequence": result.stamp.sequence,
        "captured_at_s": round(result.stamp.captured_at_s, 3),
        "age_ms": round((now_ns - result.stamp.captured_ns) / 1e6, 1),
        "size_wh": result.size_wh,
        "task": task.name,
        "form": task.form,
        "prediction": {**task.columns(result.prediction), "labels": result.names()},
        "unknown": bool(result.unknown),
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join((struct.pack(">I", len(text)), text, picture.jpeg))


def station_message(
    reading: StationReading, station: Mapping[str, object], confidence: float, texts: Texts
) -> dict[str, Any]:
    """The station for the page; see the protocol in ARCHITECTURE.md.

    Args:
        reading: now.
        station: name, version, which run, whether the page is made, and who is looking.
        confidence: the station's floor of scores, by the settings.
        texts: of the language that sentences are in; names and states stay as they are.
    """
    # The one to look at: a failed model must not hide behind one that runs.
    override = reading.override
    worst = min(reading.engines, key=_soundness, default=None)
    return {
        "type": "station",
        "protocol": PROTOCOL,
        "now_s": round(reading.now_s, 3),
        "station": dict(station),
        "health": {"state": reading.health, "reasons": [*map(texts.sentence, reading.reasons)]},
        "engine": _engine(worst, texts) if worst else None,
        "disk": {"used_percent": _percent(reading.disk_used)},
        "confidence": override.confidence if override else confidence,
        "override": _override(override) if override else None,
        "cameras": [_camera(camera, texts) for camera in reading.cameras],
    }


def _soundness(engine: EngineReading) -> float:
    return (
        EngineState.FAILED,
        EngineState.WAITING,
        EngineState.BUILDING,
        EngineState.RUNNING,
    ).index(engine.state) - engine.is_fallback / 2


def _engine(engine: EngineReading, texts: Texts) -> dict[str, Any]:
    state = "building" if engine.state is EngineState.WAITING else str(engine.state)
    sentence = engine.sentence
    if engine.is_fallback:
        state, sentence = "fallback", ". ".join(filter(None, (engine.fallback, engine.under_way())))
    return {
        "model": engine.model,
        "asked": engine.asked,
        "running": engine.running,
        "precision": engine.precision,
        "state": state,
        "sentence": texts.sentence(sentence),
        "next": texts.sentence(engine.next_step),
        "progress": engine.progress if engine.state is EngineState.BUILDING else None,
    }


def _override(override: OverrideReading) -> dict[str, Any]:
    return {**asdict(override), "since_s": round(override.since_s, 3)}


def _camera(camera: CameraReading, texts: Texts) -> dict[str, Any]:
    document = asdict(camera)
    document["sentence"] = texts.sentence(camera.sentence)
    document["next"] = texts.sentence(document.pop("next_step"))
    document["dropped_total"] = document.pop("dropped")
    for unsaid in ("grabbed", "inferred", "drops", "reconnects"):
        del document[unsaid]
    for name, value in document.items():
        if isinstance(value, float) and name != "since_s":
            document[name] = round(value, 1)
    return document


def _percent(share: float | None) -> int | None:
    return None if share is None else round(share * 100)
