"""A task is one module in each layer, and all of them speak of the same tasks."""

import re
import tokenize
from pathlib import Path

import numpy as np
import pytest

from appliance import render, tasks

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "appliance"
PLAYER = PACKAGE / "web" / "static" / "player"
TASKS = tasks.known()


def modules_with(folder, constant):
    """The modules of a folder that have this constant."""
    wanted = re.compile(rf"^{constant} = ", re.MULTILINE)
    return {path.stem for path in folder.glob("*.py") if wanted.search(path.read_text("utf-8"))}


@pytest.mark.parametrize(
    ("folder", "constant"),
    [("tasks", "TASK"), ("optimizer/measures", "MEASURE"), ("render", "PAINTER")],
)
def test_every_layer_has_a_module_for_each_task(folder, constant):
    """Who adds a task to one layer is told of the others."""
    assert modules_with(PACKAGE / folder, constant) == set(TASKS)


@pytest.mark.parametrize("folder", ["optimizer/measures", "render"])
@pytest.mark.parametrize("name", TASKS)
def test_a_tasks_module_knows_its_own_task_alone(folder, name):
    """Of other tasks' modules it imports none, in whichever layer they are."""
    text = (PACKAGE / folder / f"{name}.py").read_text("utf-8")
    layers = r"tasks|optimizer\.measures|render"
    named = set(re.findall(rf"from appliance\.(?:{layers})\.(\w+) import", text))
    assert named.isdisjoint(set(TASKS) - {name})


def test_few_modules_beside_the_tasks_name_the_shape_of_a_box():
    """Whoever carries predictions on knows no kind of them."""
    own = re.compile(r"predictions/|tasks/|optimizer/measures/|optimizer/heads/|render/")
    box = re.compile(r"boxes(_xyxy(_px)?)?|class_ids|Instances|DetectionTable")

    def names_a_box(path):
        with path.open("rb") as file:
            return any(
                each.type == tokenize.NAME and box.fullmatch(each.string)
                for each in tokenize.tokenize(file.readline)
            )

    places = (path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py")))
    found = [name for name in places if not own.match(name) and names_a_box(PACKAGE / name)]
    assert len(found) <= 6, found


def test_the_page_has_a_module_for_each_task_and_names_it():
    """A file of the player's that is not in its list would be drawn by nobody."""
    assert {path.stem for path in (PLAYER / "tasks").glob("*.js")} == set(TASKS)
    named = re.search(r"TASKS = \{([^}]*)\}", (PLAYER / "tasks.js").read_text("utf-8"))[1]
    assert {name.strip() for name in named.split(",")} == set(TASKS)


def test_the_pages_tasks_offer_the_same():
    """What the page asks of one task, each of them answers."""
    said = (PLAYER / "tasks.js").read_text("utf-8")
    wanted = set(re.findall(r"^ \* - `(\w+)", said, re.MULTILINE)) | {"columns", "cells"}
    for path in (PLAYER / "tasks").glob("*.js"):
        body = path.read_text("utf-8").partition("export const")[2]
        assert wanted <= set(re.findall(r"^  (\w+)[:(]", body, re.MULTILINE)), path.name


def test_who_contributes_a_task_is_told_of_every_layer():
    """CONTRIBUTING's row names the places that these tests look at."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| a task |"))
    for place in ("tasks/", "optimizer/measures/", "render/", "web/static/player/tasks/"):
        assert place in row
    for constant in ("TASK", "MEASURE", "PAINTER"):
        assert f"`{constant}`" in row


@pytest.mark.parametrize("name", TASKS)
def test_a_prediction_of_every_task_can_be_carried_on(name):
    """Told in columns with scores, as a document, drawn, scaled and filtered, without its kind."""
    task = TASKS[name]
    assert len(task.nothing) == 0
    assert task.columns(task.nothing)["scores"] == []
    assert list(task.document(task.nothing, ()).values()) == [[]]
    assert task.nothing.names(("a",)) == []
    picture = np.full((48, 64, 3), 7, np.uint8)
    small = task.nothing.scaled(0.5).from_score(0.5)
    render.known()[name].paint(picture, small, small.names(()))
    assert (picture == 7).all()


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_what_its_heads_make(name):
    """Each output has a name of its own and one of the two types that engines bring."""
    outputs = TASKS[name].outputs
    assert len({output.name for output in outputs}) == len(outputs) > 0
    assert {output.dtype for output in outputs} <= {"float32", "int32"}
