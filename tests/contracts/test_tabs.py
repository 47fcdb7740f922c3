"""A tab is a folder: what it brings takes effect by itself, and answers those alone who see it."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from appliance.settings import Role
from appliance.web import files, tabs
from appliance.web.tab import known_tabs, letters
from tests.support.gradios import NOTHING, blocks_of, call, tab_of
from tests.support.web import LANGUAGES, ROLES, whole_web

APPLIANCE = Path(tabs.__file__).parents[2]
TABS = known_tabs()
CALLERS = [*ROLES, "stranger", None]


@pytest.fixture(scope="module")
def blocks():
    return blocks_of(whole_web())


def test_the_handlers_of_a_tab_run_for_those_alone_who_see_it(blocks, monkeypatch):
    """Every dependency of the built page, by every role: who may not gets nothing, and runs none.

    To which tab one belongs is read from where its parts stand, not from the check under test.
    """
    ran = []
    for function in blocks.fns.values():
        count = len(function.outputs)
        outputs = NOTHING if count == 1 else [NOTHING] * count
        monkeypatch.setattr(function, "fn", lambda *_, outputs=outputs: ran.append(1) or outputs)
        inputs = [part.value if hasattr(part, "value") else None for part in function.inputs]
        tab = TABS.get(tab_of(function))
        for user in CALLERS:
            ran.clear()
            answer = call(blocks, function, inputs, user)
            held = ROLES.get(user)
            least = Role.VIEWER if tab is None else tab.role
            assert bool(ran) == (held is not None and held.covers(least)), (function.name, user)
            assert all(value in (NOTHING, None) for value in answer)  # None: state of the page


def test_what_belongs_to_no_tab_is_the_choice_of_tabs_alone(blocks):
    """In each language one handler, which shows the tabs of a person's role."""
    found = [function for function in blocks.fns.values() if not tab_of(function)]
    assert [function.name for function in found] == ["by_role"] * len(LANGUAGES.all())
    shown = [value["visible"] for value in call(blocks, found[0], [], "otto")]
    assert shown == [Role.OPERATOR.covers(tab.role) for tab in TABS.values()]


def test_every_tab_that_brings_documents_has_its_handlers_on_the_page(blocks):
    """Else the test of all handlers could pass by finding none."""
    pages = tabs.files("page.py")
    asking = {path.parent.name for path in pages if "asking_button(" in path.read_text()}
    assert asking
    assert asking == {tab_of(function) for function in blocks.fns.values()} - {""}


def test_keys_orders_and_letters_are_each_of_one_tab():
    """Which tab a key press opens, and which stands left, does not depend on the order of files."""
    assert all(re.fullmatch("[a-z][a-z_]*", key) for key in TABS)
    assert len({tab.order for tab in TABS.values()}) == len(TABS)
    assert len(letters(TABS)) == len([tab for tab in TABS.values() if tab.letter])
    assert all(re.fullmatch("[A-FH-Z]?", tab.letter) for tab in TABS.values())  # "G" comes first


def test_the_first_tab_is_seen_by_everybody():
    """It is what a page shows before anybody has chosen."""
    assert next(iter(TABS.values())).role is Role.VIEWER


def names(path, key):
    """Whether a file speaks of a tab: of its package, templates, place on the page or routes."""
    here = rf"tabs[./]{key}\b|web\.tabs import .*\b{key}\b|[\"'/]{key}/\w+\.(?:html|js|css)\b"
    there = rf"\bpage-{key}\b|data-page=\W?{key}\b|dataset\.page\W+{key}\b|/api/{key}\b"
    return re.search(f"{here}|{there}", path.read_text(encoding="utf-8")) is not None


def test_no_file_but_its_own_names_a_tab():
    """What the station, the page and the gate know of tabs, they are told by the folders."""
    kinds = {".py", ".js", ".css", ".html"}
    sources = [path for path in APPLIANCE.rglob("*") if path.suffix in kinds]
    assert len(sources) > 300
    for key in TABS:
        found = [path for path in sources if names(path, key)]
        assert found, f"{key}: the pattern finds nothing at all"
        own = Path(tabs.__file__).parent / key
        assert [path for path in found if own not in path.parents] == []


ZOO = {
    "__init__.py": '''"""A tab of the tests."""

from fastapi import APIRouter
from starlette.responses import PlainTextResponse

from appliance.settings import Role
from appliance.web.access.routes import rule
from appliance.web.tab import Tab


def make_router(context):
    router = APIRouter()

    @router.get("/animals/{name}")
    async def animal(name: str):
        return PlainTextResponse(f"{name} of {context.station_name}")

    @router.get("/cages")
    async def cages():
        return PlainTextResponse("has no rule")

    return router


RULES = (rule("/animals/[a-z]+", Role.ADMIN),)
TAB = Tab("Zoo", 5, Role.OPERATOR, letter="Z", rules=RULES, router=make_router)
''',
    "page.py": '''"""Its part of Gradio's page."""

import gradio as gr

from appliance.web.components import constant


def build(context):
    constant(context, "zoo/animals.html", animals=["cat"])
    said = gr.Textbox()
    gr.Button().click(lambda: "a secret of the zoo", outputs=said)
''',
    "animals.html": "<ul>{% for animal in animals %}<li>{{ animal }}</li>{% endfor %}</ul>\n",
    "beside.html": "<aside id=zoo-beside></aside>\n",
    "chips.html": "<button id=zoo-chip data-page=zoo></button>\n",
    "script.js": 'import { t } from "./sounds.js";\n\nconst zoo = t("Roar");\n',
    "sounds.js": "export function t(sound) {\n  return `zoo ${sound}`;\n}\n",
    "style.css": ".zoo-style {\n  color: var(--t1);\n}\n",
}


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """The application with one more tab, which is one more folder and nothing else."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    for name, text in ZOO.items():
        (folder / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(tabs, "__path__", [*tabs.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    caches = (files.made_files, files._by_place)
    for made in caches:
        made.cache_clear()
    yield whole_web()
    for made in caches:
        made.cache_clear()
    for name in [name for name in sys.modules if name.startswith("appliance.web.tabs.zoo")]:
        del sys.modules[name]
    del tabs.zoo


def test_a_tab_that_is_added_touches_nothing_but_its_folder(zoo):
    """Tab, routes with their rules, page, script, style, chip and key take effect by themselves."""
    blocks = blocks_of(zoo)
    assert any("<li>cat</li>" in str(getattr(part, "value", "")) for part in blocks.blocks.values())
    page = zoo.ask("GET", "/ui/", role=Role.OPERATOR).text
    assert "<aside id=zoo-beside>" in page.partition("</gradio-app")[2]
    assert "<button id=zoo-chip" in page.partition("<gradio-app")[0]
    assert '"z": "zoo"' in page
    script = zoo.ask("GET", f"/static/{files.made_files()['page.js'].place}", role=Role.VIEWER).text
    assert 'const zoo = t("Roar");' in script
    assert script.index("zoo ${sound}") < script.index("const zoo")
    style = files.made_files()["page.css"].content.decode()
    assert ".zoo-style" in style

    shortcut = '{"key": "Z", "title": "Zoo"}'
    assert shortcut in zoo.ask("GET", "/player", role=Role.OPERATOR).text
    assert shortcut not in zoo.ask("GET", "/player", role=Role.VIEWER).text

    animal = "/api/zoo/animals/cat"
    assert zoo.ask("GET", animal, role=Role.ADMIN).text == "cat of Hall 3"
    assert zoo.ask("GET", animal, role=Role.OPERATOR).status_code == 403
    assert zoo.ask("GET", animal).status_code == 401
    assert zoo.ask("GET", "/api/zoo/cages", role=Role.ADMIN).status_code == 404

    own = [function for function in blocks.fns.values() if tab_of(function) == "zoo"]
    assert len(own) == len(LANGUAGES.all())
    for function in own:
        assert call(blocks, function, [], "vera") == [NOTHING]
        assert call(blocks, function, [], "otto") == ["a secret of the zoo"]
