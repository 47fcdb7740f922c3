"""Files that PyTorch wrote: the canonical graph says of a picture what PyTorch said of it."""

import numpy as np
import onnx
import pytest

from tests.support.exports import EXPORTERS, FAMILIES, SAID, card_for, path_of, picture
from tests.support.heads import HEADS, graph_and_twin, rows_of


def assert_says(tmp_path, family, model, said):
    """Graph and twin leave the rows that the numpy twin finds in PyTorch's own output."""
    card = card_for(family)
    rows = rows_of(HEADS[family].decode({"output0": said}, card, None), above=0.02)
    assert len(rows) > 5
    assert len({class_id for class_id, *_ in rows}) > 1
    for each in graph_and_twin(tmp_path, model, card, picture()):
        found = rows_of(each, above=0.02)
        assert found == [pytest.approx(row, abs=2e-2, rel=1e-4) for row in rows]


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_kept_export_says_what_pytorch_said(tmp_path, family, exporter):
    """By either exporter, no row, class or box differs from what PyTorch computed."""
    assert_says(tmp_path, family, onnx.load(path_of(family, exporter)), np.load(SAID)[family])


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # PyTorch's own
@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_export_of_today_says_what_pytorch_says(tmp_path, family, exporter):
    """The same with the PyTorch that is installed; and what was kept is still what it says."""
    from tests.support.torch_detectors import export, said_by_torch

    said = said_by_torch(family)
    np.testing.assert_allclose(said, np.load(SAID)[family], atol=1e-4)
    path = tmp_path / "export.onnx"
    export(family, exporter, path)
    assert_says(tmp_path, family, onnx.load(path), said)
