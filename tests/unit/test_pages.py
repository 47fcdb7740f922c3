"""What strangers and viewers are shown: the page templates and the files they load."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from appliance.texts import Languages
from appliance.values import CameraState
from appliance.web.files import made_files
from appliance.web.tab import known_tabs, letters
from appliance.web.templates import Pages

WEB = Path(__file__).parents[2] / "appliance" / "web"
STATIC = WEB / "static"
HOSTILE = "</title><script>alert(1)</script>\" onload='x' {{ 7 * 7 }}\n\n    & *Hall*"
PROBLEM = {
    "variable": "APPLIANCE_CAMERAS__DOCK__URI",
    "problem": "No setting has this name.",
    "expected": "APPLIANCE_CAMERAS__DOCK__URL (nearest known name)",
    "example": "rtsp://camera-7.lan:554/stream1",
}
TABS = known_tabs()
CONTEXT = {
    "base": "/cam",
    "station_name": HOSTILE,
    "version": "0.1.0",
    "error": HOSTILE,
    "wait_s": 4,
    "user": HOSTILE,
    "failed": False,
    "person": HOSTILE,
    "sign_on": "",
    "places": [],
    "tabs": TABS,
    "letters": letters(TABS),
    "shortcuts": [{"key": "L", "title": HOSTILE}],
    "problems": [PROBLEM, {**dict.fromkeys(PROBLEM, HOSTILE), "example": ""}],
}
PAGES = [
    "end.html",
    "entered.html",
    "head.html",
    "header.html",
    "login.html",
    "player.html",
    "problem.html",
    "top.html",
    "waiting.html",
]
SHAPES_OF_DOCUMENTS = {"ok", "busy", "save"}
TEXTS = Languages().all()
URL_ATTRIBUTES = {"href", "src", "action", "data", "poster", "srcset", "formaction"}
VOID = {"br", "input", "link", "meta"}


def render(name: str, *, language: str = "en", **changes: object) -> str:
    values = {**CONTEXT, **changes}
    base, station_name, version = (str(values.pop(n)) for n in ("base", "station_name", "version"))
    pages = Pages(base=base, station_name=station_name, version=version)
    return pages.render(name, TEXTS[language], **values)


class Page(HTMLParser):
    """The tags, attributes and text of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.unclosed: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.unclosed.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.unclosed.pop() == tag

    def handle_data(self, data):
        if self.unclosed:
            tag = self.unclosed[-1]
            self.text[tag] = self.text.get(tag, "") + data

    def urls(self) -> list[str]:
        return [
            value or ""
            for _, attributes in self.tags
            for name, value in attributes.items()
            if name in URL_ATTRIBUTES
        ]


@pytest.fixture(params=[(name, language) for language in TEXTS for name in PAGES], ids=str)
def page(request) -> Page:
    name, language = request.param
    return Page(render(name, language=language))


def test_every_element_of_a_page_is_closed(page):
    """A page is well formed, so that nothing a station is named can open what follows."""
    assert page.tags
    assert page.unclosed == []


def test_a_page_has_no_inline_script_or_style(page):
    """Every script and style comes from a file, as the strict policy demands."""
    for tag, attributes in page.tags:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "script":
            assert attributes.get("src") or attributes.get("type") == "application/json"
    assert isinstance(json.loads(page.text.get("script") or "{}"), dict)


@pytest.mark.parametrize("base", ["", "/cam"])
@pytest.mark.parametrize("name", PAGES)
def test_every_url_stays_under_the_public_base(name, base):
    """Nothing on a page leads outside the station's own origin and prefix (O-17)."""
    urls = Page(render(name, base=base)).urls()
    assert urls
    for url in urls:
        place = rf"{base}/(static/[\w./-]+|login|logout|player|ui/)|#shape-[a-z-]+"
        assert re.fullmatch(place, url), url


def test_a_page_loads_only_files_that_exist(page):
    """A page refers to no file and no icon that is not delivered with it."""
    made = {f"static/{file.place}" for file in made_files().values()}
    for url in page.urls():
        path = url.removeprefix("/cam/")
        if path.startswith("static/"):
            assert path in made or (WEB / path).is_file(), url


@pytest.mark.parametrize("name", ["entered", "login", "player", "problem", "top", "waiting"])
def test_a_page_holds_every_shape(name):
    """A shape comes with the page, whatever happens to the station afterwards."""
    page = Page(render(f"{name}.html"))
    shapes = {attributes["id"] for tag, attributes in page.tags if tag == "symbol"}
    used = {a["href"] for tag, a in page.tags if tag == "use"}
    by_script = set()
    for path in WEB.rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        by_script |= set(re.findall(r'\bicon(?:: |\()"([a-z-]+)"', text))
    states = {str(state) for state in CameraState}
    assert {"stalled", "offline", "connecting"} <= by_script
    wanted = {f"#shape-{shape}" for shape in by_script | states | SHAPES_OF_DOCUMENTS}
    assert used | wanted <= {f"#{shape}" for shape in shapes}


@pytest.mark.parametrize("name", ["login.html", "problem.html"])
def test_pages_for_strangers_load_only_public_files(name):
    """A page shown without a session asks for nothing that needs one."""
    for url in Page(render(name)).urls():
        assert url == "/cam/login" or url.startswith(("/cam/static/public/", "#shape-")), url


@pytest.mark.parametrize("name", ["header.html", "login.html", "player.html", "problem.html"])
def test_hostile_text_is_shown_and_does_nothing(name):
    """Markup in a station's name, a user's name or a problem arrives as text."""
    hostile, harmless = render(name), render(name, **dict.fromkeys(("station_name", "user"), "x"))
    tags = [tag for tag, _ in Page(hostile).tags]
    assert tags == [tag for tag, _ in Page(harmless).tags]
    assert "&lt;script&gt;alert(1)" in hostile
    assert "{{ 7 * 7 }}" in hostile


def test_the_bar_survives_markdown():
    """The bar is one block without blank lines; Markdown would end the block at the first one."""
    lines = render("header.html").strip().splitlines()
    assert lines[0].startswith("<header")
    assert all(line.strip() for line in lines)
    assert not any(line.startswith(" ") for line in lines)


def test_the_bar_has_one_region_for_news_and_one_for_alarms():
    """Screen readers find one polite and one assertive region."""
    tags = Page(render("header.html")).tags
    live = [attributes["aria-live"] for _, attributes in tags if "aria-live" in attributes]
    assert sorted(live) == ["assertive", "polite"]


def test_sign_in_keeps_the_user_and_says_how_long_to_wait():
    """After a wrong password the user's name stays, the password goes, the wait is told."""
    page = Page(render("login.html", user="ada", error="User or password is wrong.", wait_s=4))
    fields = {attributes["name"]: attributes for tag, attributes in page.tags if tag == "input"}
    assert fields["user"]["value"] == "ada"
    assert "value" not in fields["password"]
    assert "autofocus" in fields["password"]
    assert "Next try in 4 s." in page.text["span"]
    assert "User or password is wrong." in page.text["strong"]


def test_sign_in_without_an_error_shows_no_alert():
    """A first visit is not greeted by an alarm."""
    page = Page(render("login.html", user="", error="", wait_s=0))
    assert not [attributes for _, attributes in page.tags if attributes.get("role") == "alert"]


def test_sign_in_works_without_script():
    """The form itself sends user and password, so that it works where scripts are off."""
    tags = Page(render("login.html")).tags
    (form,) = [attributes for tag, attributes in tags if tag == "form"]
    assert (form["method"], form["action"]) == ("post", "/cam/login")
    assert [a for tag, a in tags if tag == "button" and a.get("type") == "submit"]


def test_the_problem_page_lists_every_variable():
    """All wrong variables are named at once, each with problem, form and example (O-19, O-20)."""
    page = Page(render("problem.html", problems=[PROBLEM, {**PROBLEM, "variable": "APPLIANCE_X"}]))
    assert "2 settings need a change" in page.text["h1"]
    assert "APPLIANCE_CAMERAS__DOCK__URI" in page.text["h2"]
    assert "APPLIANCE_X" in page.text["h2"]
    for field in ("problem", "expected", "example"):
        assert page.text["dd"].count(PROBLEM[field]) == 2


def test_files_name_no_foreign_address():
    """Scripts, styles and pictures ask no other host for anything."""
    files = [*STATIC.rglob("*.*"), *WEB.glob("tabs/*/*.js"), *WEB.glob("tabs/*/*.css")]
    for path in [file for file in files if file.is_file()]:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//[\w-]+\.[a-z]", text), path
        assert not re.search(r"\b(eval|Function)\(|innerHTML|insertAdjacentHTML", text), path


def test_scripts_import_only_files_that_exist():
    """Every module a script imports is delivered beside it."""
    imports = 0
    for path in WEB.rglob("*.js"):
        for target in re.findall(r'from "(\.[^"]+)";', path.read_text(encoding="utf-8")):
            imports += 1
            assert (path.parent / target).resolve().is_file(), f"{path.name}: {target}"
    assert imports > 20


def test_styles_use_only_tokens_that_are_defined():
    """A misspelt token would fall back silently to no color at all."""
    tokens = (STATIC / "public" / "tokens.css").read_text(encoding="utf-8")
    defined = set(re.findall(r"^\s*(--[\w-]+):", tokens, re.MULTILINE))
    by_script = {"--share", "--shape"}
    files = [*WEB.rglob("*.css"), *WEB.rglob("*.js"), WEB / "theme.py"]
    for path in files:
        used = set(re.findall(r"var\((--[\w-]+)", path.read_text(encoding="utf-8")))
        assert used <= defined | by_script, path


@pytest.mark.slow
def test_the_theme_is_the_same_in_light_and_dark():
    """Gradio's variables refer to our tokens in both themes, which alone switch the colors."""
    from appliance.web import theme

    made = theme.theme()
    assert made.body_background_fill == made.body_background_fill_dark == "var(--s0)"
    assert made.font == "var(--face)"
    assert made._stylesheets == []
