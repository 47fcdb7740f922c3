"""Runs a head both ways, in the graph and by its numpy twin, and compares the two."""

import hashlib

import numpy as np
import onnx
import onnxruntime

from appliance.optimizer import heads
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.heads import Head
from appliance.optimizer.reference import Reference
from appliance.registry import plugins

HEADS = plugins(heads, "HEAD", Head)
OUTPUTS = {"boxes": "float32", "scores": "float32", "class_ids": "int32"}


class Remembering(Reference):
    """An original that is asked once for each picture: it says the same each time."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._told = {}

    def run(self, image):
        return self._once(super().run, image)

    def detect(self, frame, *, confidence):
        return self._once(super().detect, frame, confidence=confidence)

    def _once(self, ask, picture, **options):
        key = (ask.__name__, hashlib.blake2b(picture).digest(), *options.values())
        if key not in self._told:
            self._told[key] = ask(picture, **options)
        return self._told[key]


def run(path, feeds):
    """Every output of a model, by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def graph_and_twin(folder, model, card, picture=None):
    """The canonical graph's outputs, and the twin's from the foreign model's own outputs.

    `picture` is (H, W, 3) uint8 BGR, black where None.
    """
    foreign = folder / "model.onnx"
    onnx.save(model, foreign)
    width, height = card.input.size_wh
    frame = np.zeros((height, width, 3), np.uint8) if picture is None else picture
    head = HEADS[card.head]
    canonical = canonicalize(foreign, card, head, folder / "canonical.onnx")
    twin = Reference(foreign, card, head, threads=1).run(frame.astype(np.float32))
    return run(canonical.path, {"frames": frame[None]}), twin


def rows_of(outputs, *, above):
    """Rows with a score above `above`, as a sorted list: ties have no order."""
    boxes, scores, class_ids = (outputs[name][0] for name in OUTPUTS)
    return sorted(
        (int(class_id), round(float(score), 4), *np.round(box, 2).tolist())
        for box, score, class_id in zip(boxes, scores, class_ids, strict=True)
        if score > above
    )


def classes_above(outputs, floor):
    """The class ids of the rows above `floor`, sorted."""
    return sorted(outputs["class_ids"][0][outputs["scores"][0] > floor].tolist())


def assert_same(graph, twin):
    """Same scores; same rows, but for which of the tied ones are the last to be let in."""
    for name, dtype in OUTPUTS.items():
        assert graph[name].dtype == twin[name].dtype == dtype
        assert graph[name].shape == twin[name].shape
        assert np.isfinite(graph[name]).all()
    scores = graph["scores"][0]
    np.testing.assert_allclose(scores, twin["scores"][0], atol=1e-6)
    assert (np.diff(scores) <= 0).all()
    assert ((scores == 0) == (graph["class_ids"][0] == -1)).all()
    last = max(scores[-1] + 1e-5, 1e-5)
    assert classes_above(graph, last) == classes_above(twin, last)
    assert_each_found(graph, twin, last)
    assert_each_found(twin, graph, last)


def assert_each_found(rows, others, floor):
    """Every row above `floor` is among the others: its class, its box, its score."""
    one, other = (_stacked(each) for each in (rows, others))
    for row in one[one[:, 0] > floor]:
        near = np.abs(other - row) <= (1e-5, 0, *[1e-2] * 4)
        assert near.all(axis=1).any(), row


def _stacked(rows):
    """(K, 6): score, class, box."""
    numbers = [rows["scores"][0][:, None], rows["class_ids"][0][:, None], rows["boxes"][0]]
    return np.concatenate(numbers, axis=1)
