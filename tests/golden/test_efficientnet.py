"""The shipped classifier: from the published weights to what it sees in a picture."""

import hashlib

import cv2
import numpy as np
import onnx
import pytest

from appliance.catalog.card import read_card
from appliance.catalog.library import builtin_models_dir
from appliance.optimizer.fittings import letterbox_of
from appliance.optimizer.heads import classifier
from appliance.optimizer.reference import Reference, place
from tests.support.heads import graph_and_twin

MODEL = builtin_models_dir() / "efficientnet-lite0"
SHA256 = "5b9bc497dbee81b2ce7f1ef82a7730f8979c47661072c6219c08cfde8c5691a8"
CATS = {"tiger cat", "Egyptian cat", "tabby"}


@pytest.fixture(scope="module")
def card():
    return read_card(MODEL / "model.toml")


def test_every_class_has_a_name_of_its_own(card):
    """A thousand names, none twice: the page tells classes apart by their names."""
    assert len(card.table.labels) == len(set(card.table.labels)) == 1000
    assert all(card.table.labels)


@pytest.mark.slow
def test_the_recipe_gives_the_same_bytes(efficientnet):
    """The same weights give the same model, wherever it is pulled: engines are cached by them."""
    assert hashlib.sha256(efficientnet.read_bytes()).hexdigest() == SHA256


@pytest.mark.slow
def test_it_ends_in_logits_behind_convolutions_alone(efficientnet):
    """Normalizations lie in the convolutions; nothing is there that a backend may not know."""
    graph = onnx.load(efficientnet).graph
    kinds = {"Conv", "Clip", "Add", "GlobalAveragePool", "Flatten", "Gemm"}
    assert {node.op_type for node in graph.node} == kinds
    assert [node.op_type for node in graph.node].count("Conv") == 1 + 3 * 16 - 1 + 1
    assert [node.op_type for node in graph.node].count("Add") == 9
    assert graph.output[0].name == "logits"


@pytest.mark.slow
def test_it_knows_a_cat(tmp_path, card, efficientnet, cat):
    """On a real picture the best three classes are cats, by the graph and by the reference."""
    picture = cv2.imread(str(cat))
    frame = np.empty((224, 224, 3), np.uint8)
    letterbox_of(card).place(picture, frame)
    graph, _ = graph_and_twin(tmp_path, onnx.load(efficientnet), card, frame)
    reference = Reference(efficientnet, card, classifier.HEAD, threads=1)
    twin = reference.run(place(picture, card)[0])
    for outputs in (graph, twin):
        names = [card.table.labels[each] for each in outputs["class_ids"][0, :3]]
        assert set(names) == CATS
        assert outputs["scores"][0, :3].sum() == pytest.approx(0.92, abs=0.02)
    np.testing.assert_allclose(graph["scores"], twin["scores"], atol=0.01)
