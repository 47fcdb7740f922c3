"""What a person can look at: whole in itself, escaped, small; and its way onto the page."""

import base64
import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from appliance.errors import EngineError
from appliance.optimizer.exhibits import LIMIT, WIDEST_PX, Exhibits
from appliance.optimizer.measures.detection import MEASURE
from appliance.optimizer.report import PAGES, write_report
from appliance.optimizer.sidecar import REPORT, REPORT_FIGURES
from appliance.optimizer.verdict import Figure, Verification
from appliance.optimizer.verification import Trial
from appliance.predictions import Instances
from appliance.settings import Role
from appliance.values import Precision
from appliance.web.files import STATIC
from tests.support.web import ENGINE, READING, make_web

HOSTILE = '<script>alert("1")</script>'
LIMITS = {"f1": 0.99, "box_px": 0.25, "score": 0.01}
FACTS = {"Model": f"Bright spots {HOSTILE}", "Device": "a processor"}
OF_ROWS = {
    "row_box_px": Figure("Candidates: edges", 0.01, "px", 2, 0.25),
    "row_score": Figure("Candidates: score", 0.001, digits=3, limit=0.01),
    "row_shift_px": Figure("Candidates: all to one side", 0.003, "px", 2, 0.25),
}
OF_OBJECTS = {
    "references": Figure("Objects of the original", 120, limit=100, is_least=True),
    "f1": Figure("Objects: F1 of the engine's", 0.998, digits=3, limit=0.99, is_least=True),
    "shift_px": Figure("Objects: all to one side", 0.02, "px", 2, 0.25),
    "box_px_p99": Figure("Objects: edges, 99 of 100 within", 0.3, "px", 2),
}
PROVEN = Verification(
    "proven",
    Precision.FP32,
    device="serial",
    computes={"fp32": 12},
    frames=60,
    summary="F1 0.998 over 120 objects of the original",
    figures={**OF_ROWS, **OF_OBJECTS},
)
REFUSED = replace(
    PROVEN,
    verdict="refused",
    precision=Precision.FP16,
    figures={**PROVEN.figures, "row_box_px": replace(OF_ROWS["row_box_px"], value=0.53)},
    reason="its candidates differ",
    hint="Do this.",
)


def seen(*boxes, score=0.9, class_id=0):
    count = len(boxes)
    return Instances(
        np.array(boxes, np.float32).reshape(count, 4),
        np.full(count, score, np.float32),
        np.full(count, class_id, np.int32),
    )


def noise(size_wh):
    return np.random.default_rng(0).integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)


def exhibits(count, size_wh=(320, 240)):
    kept = Exhibits(count)
    both, one = seen((10, 10, 80, 90), (120, 30, 200, 200)), seen((10, 10, 80, 90))
    for index in range(count):
        kept.offer(noise(size_wh), both, one if index % 2 else both, disagreements=index % 2)
    return kept.best()


@pytest.fixture
def written(tmp_path):
    """Writes a report: its text, and its figures."""

    def write(*trials, facts=FACTS, labels=("red", HOSTILE)):
        write_report(tmp_path, MEASURE, facts, trials, labels)
        text = (tmp_path / REPORT).read_text(encoding="utf-8")
        return text, json.loads((tmp_path / REPORT_FIGURES).read_text(encoding="utf-8"))

    return write


def test_it_tells_what_was_compared_and_every_precision_that_was_tried(written):
    """Facts, verdicts, reasons with the next step, and each figure beside what is asked for."""
    text, _ = written(Trial(REFUSED, (), LIMITS), Trial(PROVEN, (), LIMITS))
    assert "proven: F1 0.998 over 120 objects of the original" in text
    assert "fp16, refused" in text
    assert "fp32, proven" in text
    assert "Its candidates differ. Do this." in text
    assert "fp32 (12)" in text
    assert "a processor" in text
    row = re.search(r"Candidates: edges</th><td([^>]*)>([^<]*)</td><td>([^<]*)</td>", text)
    assert row.groups() == (' class="far refused"', "0.53 px", "≤ 0.25 px")
    assert "<td>0.998</td><td>≥ 0.99</td>" in text
    assert text.count('class="far') == 1


def test_the_same_figures_stand_in_json(written):
    """Programs read what people read; limits included."""
    _, figures = written(
        Trial(Verification.without_device(Precision.INT8)), Trial(PROVEN, (), LIMITS)
    )
    assert figures["facts"] == FACTS
    first, second = figures["trials"]
    assert (first["verdict"], first["limits"]) == ("unverified", None)
    assert second["limits"] == {"f1": 0.99, "box_px": 0.25, "score": 0.01}
    assert Verification.of({k: v for k, v in second.items() if k != "limits"}) == PROVEN


@pytest.mark.parametrize(
    "verification",
    [
        Verification.without_device(Precision.FP16),
        Verification.impossible(Precision.INT8, EngineError("no parser", hint="Ask for fp16.")),
    ],
)
def test_what_was_not_compared_has_no_figures(written, verification):
    """No zeros that nobody has measured."""
    text, _ = written(Trial(verification))
    assert verification.verdict in text
    assert "<table>" not in text
    assert "<img" not in text


def test_without_frames_no_object_is_told_of(written):
    """On a test picture only candidates are compared, and the report says so."""
    text, _ = written(
        Trial(replace(PROVEN, verdict="unproven", frames=0, figures=OF_ROWS), (), LIMITS)
    )
    assert "a test picture" in text
    assert "F1 of the engine" not in text
    assert "add frames" in text


def test_it_is_one_file_that_asks_for_nothing(written):
    """No script, no link, no address of any host: it reads the same without a network."""
    text, _ = written(Trial(PROVEN, exhibits(3), LIMITS))
    assert not re.search(r"<script|<link|<iframe|@import|url\(|\bon\w+=", text)
    assert not re.search(r"(?:https?:)?//", re.sub(r"data:image/jpeg;base64,[^\"]+", "", text))
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text


def test_pictures_come_in_pairs_and_say_what_they_show(written):
    """Original beside engine, with counts for those who do not see them."""
    text, _ = written(Trial(PROVEN, exhibits(1), LIMITS), labels=())
    captions = re.findall(
        r"<figcaption>([^<]*)</figcaption><img src=\"([^\"]*)\" alt=\"([^\"]*)\"", text
    )
    assert [caption for caption, _, _ in captions] == [
        "Original: 2 objects",
        "Engine, fp32: 2 objects",
    ]
    assert all(caption == alt for caption, _, alt in captions)
    header, _, content = captions[0][1].partition(",")
    assert header == "data:image/jpeg;base64"
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (240, 320, 3)


def test_what_one_side_alone_has_seen_is_counted(written):
    """The caption tells how many have no partner."""
    text, _ = written(Trial(PROVEN, exhibits(2), LIMITS))
    assert "Original: 2 objects, 1 not seen by the engine" in text
    assert "Engine, fp32: 1 object<" in text


def test_every_precision_shows_its_worst_and_none_more_than_fit(written):
    """The taken one begins, the others follow in turn; six pairs in all."""
    text, _ = written(Trial(REFUSED, exhibits(12), LIMITS), Trial(PROVEN, exhibits(12), LIMITS))
    engines = re.findall(r"<figcaption>Engine, (\w+)", text)
    assert engines == ["fp32", "fp16"] * (LIMIT // 2)


def test_it_stays_small_whatever_the_pictures(written, tmp_path):
    """Noise is what JPEG likes least: the quality gives way, about a megabyte is the most."""
    written(Trial(PROVEN, exhibits(LIMIT, (1280, 720)), LIMITS))
    assert (tmp_path / REPORT).stat().st_size < 1_500_000


@pytest.mark.parametrize(
    ("theirs", "own"), [(":root {", ":root {"), (".dark {", "prefers-color-scheme: dark) {")]
)
def test_its_colors_are_the_pages(theirs, own):
    """Each color of the report has the page's value, in light and in dark."""
    page = (STATIC / "public" / "tokens.css").read_text(encoding="utf-8")
    report = (PAGES / REPORT).read_text(encoding="utf-8")

    def colors(text, begin):
        block = text.partition(begin)[2].partition("}")[0]
        return dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]+);", block))

    ours, known = colors(report, own), colors(page, theirs)
    assert len(ours) >= 9
    assert ours == {name: known[name] for name in ours}


def test_exhibits_keep_the_worst_of_each_stretch():
    """A long clip leaves a handful: neighbors are alike, and a small box has little memory."""
    kept = Exhibits(600)
    for index in range(600):
        worst = index in {7, 250}
        boxes = [(10, 10, 50, 50)] * (index % 100 // 20)
        kept.offer(noise((8, 8)), seen(*boxes), seen(), disagreements=int(worst))
    best = kept.best()
    assert len(best) == LIMIT
    assert [len(each.expected) for each in best] == [2, 0, 4, 4, 4, 4]


def test_exhibits_are_copies_no_wider_than_shown():
    """A large frame is not kept, boxes follow its picture; the caller's is left alone."""
    kept = Exhibits(1)
    frame = noise((1920, 1080))
    before = frame.copy()
    kept.offer(frame, seen((300, 300, 900, 900)), seen(), disagreements=1)
    (only,) = kept.best()
    assert only.frame.shape == (360, WIDEST_PX, 3)
    assert only.expected.boxes_xyxy_px.tolist() == [[100, 100, 300, 300]]
    np.testing.assert_array_equal(frame, before)


@pytest.fixture
def report(tmp_path):
    path = tmp_path / REPORT
    path.write_text("<!doctype html><title>Report</title>", encoding="utf-8")
    return path


PATH = f"/api/system/reports/{ENGINE.model}"


@pytest.mark.parametrize(
    ("role", "status"), [(None, 401), (Role.VIEWER, 403), (Role.OPERATOR, 200), (Role.ADMIN, 200)]
)
def test_operators_and_admins_read_it(report, role, status):
    """Whoever sees the System tab."""
    answer = make_web(reports=lambda _model: report).ask("GET", PATH, role=role)
    assert answer.status_code == status
    if status == 200:
        assert answer.text == report.read_text(encoding="utf-8")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_a_model_without_one_says_so(report):
    """None was written, or it is gone since."""
    gone = report.with_name("gone.html")
    for path in (None, gone):
        answer = make_web(reports=lambda _model, path=path: path).ask("GET", PATH, role=Role.ADMIN)
        assert (answer.status_code, answer.text) == (404, "This model has no report.")


@pytest.mark.parametrize(
    "model", ["other", "..", "%2e%2e", "..%2f..%2fetc", "a%2fb", "x" * 129, "", ".hidden", "a/b"]
)
def test_a_name_from_outside_is_looked_up_and_never_a_path(report, model):
    """Only models in use are asked for; what looks like a path has no rule at all."""
    asked = []

    def reports(name):
        asked.append(name)
        return report

    web = make_web(reports=reports)
    assert web.ask("GET", f"/api/system/reports/{model}", role=Role.ADMIN).status_code == 404
    assert asked == []


def test_every_model_in_use_has_its_own(tmp_path):
    """Two models, two reports; dots and dashes in a name are names."""
    engines = (ENGINE, replace(ENGINE, model="yolo11n.v2-640_x"))
    for engine in engines:
        (tmp_path / engine.model).write_text(engine.model, encoding="utf-8")
    web = make_web(
        reading=replace(READING, engines=engines), reports=lambda model: tmp_path / model
    )
    for engine in engines:
        answer = web.ask("GET", f"/api/system/reports/{engine.model}", role=Role.OPERATOR)
        assert answer.text == engine.model
