"""What people read in their language: complete catalogs, and the rule of whose language it is."""

import ast
import re
from pathlib import Path

import polib
import pytest

from appliance.capture.contract import CameraSpec
from appliance.capture.diagnosis import why_not
from appliance.pictures import Limits
from appliance.pictures.pixels import read_picture
from appliance.settings import SettingsProblems, load
from appliance.texts import LANGUAGES, Languages, Texts, upkeep
from appliance.texts.extraction import sentences, template
from appliance.texts.languages import FOLDER
from appliance.texts.sentences import MARK, PLACE, Sentences

ROOT = Path(__file__).parents[2]
WEB = ROOT / "appliance" / "web"
OTHERS = LANGUAGES[1:]
TEXTS = Languages().all()
GERMAN, ENGLISH = TEXTS["de"], TEXTS["en"]


def catalog(language):
    return polib.pofile(str(FOLDER / f"{language}.po"), encoding="utf-8")


@pytest.fixture(scope="module")
def found():
    """What the code says now."""
    return upkeep.template(ROOT)


@pytest.mark.parametrize("language", OTHERS)
def test_the_catalog_is_that_of_the_code(found, language):
    """No text is missing and none is left over: `make texts` would change nothing."""
    before, after = catalog(language), catalog(language)
    upkeep.update(after, found)
    assert {e.msgid for e in found} - {e.msgid for e in before} == set()
    assert {e.msgid for e in before} - {e.msgid for e in found} == set()
    assert str(after) == (FOLDER / f"{language}.po").read_text(encoding="utf-8")


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated_with_the_same_values(language):
    """Nothing is empty or a guess, and no value is lost or made up."""
    for entry in catalog(language):
        forms = [*entry.msgstr_plural.values()] if entry.msgid_plural else [entry.msgstr]
        assert all(forms), entry.msgid
        assert not entry.fuzzy, entry.msgid
        for form in forms:
            places = set(PLACE.findall(form))
            allowed = {*PLACE.findall(entry.msgid), *PLACE.findall(entry.msgid_plural)}
            assert places <= allowed, entry.msgid
            assert set(PLACE.findall(entry.msgid)) - {"count"} <= places, entry.msgid


@pytest.mark.parametrize("language", OTHERS)
def test_what_scripts_say_is_sent_to_them(language):
    """Babel overlooks marks within template literals, so each is looked for in a plainer way."""
    pattern = re.compile(r"""\b(?:t|plural|marked)\(\s*"((?:[^"\\]|\\.)*)\"""")
    said = {
        (path.name, ast.literal_eval(f'"{text}"'))
        for path in WEB.rglob("*.js")
        for text in pattern.findall(path.read_text(encoding="utf-8"))
        if text != "..."
    }
    assert len(said) > 100
    assert {pair for pair in said if pair[1] not in TEXTS[language].script} == set()


@pytest.mark.parametrize("language", OTHERS)
def test_every_pattern_finds_its_own_sentence(language):
    """Each sentence of the code, with values in it, is said as its own entry says it."""
    for entry in catalog(language):
        if MARK not in entry.comment.split():
            continue
        values = {**dict.fromkeys(PLACE.findall(entry.msgid), "Xy7"), "state": "offline"}
        said = TEXTS[language].sentence(entry.msgid.format(**values))
        assert said == entry.msgstr.format(**values), entry.msgid


@pytest.mark.parametrize(
    ("chosen", "default", "accepted", "language"),
    [
        ("", "auto", "", "en"),
        ("", "auto", "de", "de"),
        ("", "auto", "de-AT,de;q=0.9,en;q=0.8", "de"),
        ("", "auto", "fr-FR, en;q=0.7, de;q=0.9", "de"),
        ("", "auto", "fr, de;q=0", "en"),
        ("", "auto", "de;q=broken, en;q=0.1", "en"),
        ("en", "auto", "de", "en"),
        ("xx", "auto", "de", "de"),
        ("", "de", "en", "de"),
        ("en", "de", "de", "en"),
        ("", "en", "de", "en"),
    ],
)
def test_whose_language_it_is(chosen, default, accepted, language):
    """What somebody chose counts first, then the station's, then what the browser asks for."""
    assert Languages(default).choose(chosen=chosen, accepted=accepted).language == language


def test_each_language_is_offered_by_its_own_name():
    """Whoever reads no other finds it."""
    for texts in TEXTS.values():
        assert texts.languages == {"en": "English", "de": "Deutsch"}


def test_a_catalog_that_is_not_finished_leaves_the_rest_in_english():
    """On the page, in scripts and in sentences."""
    begun = catalog("de")
    for entry in begun:
        if entry.msgid != "Sign in":
            entry.msgstr, entry.msgstr_plural = "", {}
    texts = Texts("de", begun, {})
    assert (texts("Sign in"), texts("Sign out")) == ("Anmelden", "Sign out")
    assert texts.plural("{count} session", "{count} sessions", 2) == "2 sessions"
    assert texts.script == {"Sign in": "Anmelden"}
    assert texts.sentence("No answer from there.") == "No answer from there."


@pytest.mark.parametrize(
    ("value", "decimals", "english", "german"),
    [(0.3, 2, "0.30", "0,30"), (25.04, 1, "25.0", "25,0"), (-1.5, 1, "-1.5", "-1,5")],
)
def test_numbers_are_written_as_people_write_them(value, decimals, english, german):
    """With the language's own mark before the decimals."""
    assert ENGLISH.number(value, decimals) == english
    assert GERMAN.number(value, decimals) == german


def test_counts_times_and_durations_follow_the_language():
    """Thin spaces in thousands, 24 hours, units and months."""
    assert GERMAN.whole(1234567) == "1\u2009234\u2009567"
    assert GERMAN.number(None, 1) == "–"
    assert (ENGLISH.duration(200_000), GERMAN.duration(200_000)) == ("2 d 7 h", "2 T 7 h")
    assert re.fullmatch(r"2[789]\. März \d\d:\d\d", GERMAN.moment(1_774_699_200))
    assert re.fullmatch(r"2[789] Mar \d\d:\d\d:\d\d", ENGLISH.moment(1_774_699_200, exact=True))


def test_one_is_said_otherwise_than_many():
    """By the catalog's own rule."""
    pair = ("{count} session", "{count} sessions")
    assert [GERMAN.plural(*pair, n) for n in (0, 1, 2)] == [
        "0 Sitzungen",
        "1 Sitzung",
        "2 Sitzungen",
    ]
    assert [ENGLISH.plural(*pair, n) for n in (0, 1)] == ["0 sessions", "1 session"]


def test_markup_in_values_is_text_unless_it_was_made_here():
    """A template's texts escape what stands in their places."""
    assert ENGLISH.html("Signed in as {person}.", person="<b>") == "Signed in as &lt;b&gt;."


def test_real_errors_are_said_in_german():
    """A camera that is away, a picture that is none, and their hints."""
    spec = CameraSpec(key="dock", name="Dock", url="http://127.0.0.1:9/x", open_timeout_s=1.0)
    error = why_not(spec)
    assert str(error) == "The camera refuses the connection at 127.0.0.1:9"
    assert GERMAN.sentence(error.sentence()) == (
        "Die Kamera lehnt die Verbindung an 127.0.0.1:9 ab. Strom und Netzwerk der Kamera prüfen. "
        "APPLIANCE_CAMERAS__DOCK__URL prüfen."
    )
    with pytest.raises(Exception, match="no picture") as caught:
        read_picture(b"x", Limits(megapixels=1, size_mb=1))
    assert GERMAN.sentence(f"{caught.value}.") == "das ist kein lesbares Bild."
    assert GERMAN.sentence(caught.value.hint).startswith("Eine vollständige Datei wählen: JPEG")


def test_real_problems_of_settings_are_said_in_german(tmp_path):
    """What the problem page shows: problem, form, also where a choice is put together."""
    wrong = {
        "APPLIANCE_PATHS__STATE": str(tmp_path),
        "APPLIANCE_PATHS__CACHE": str(tmp_path),
        "APPLIANCE_DETECTION__CONFIDENCE": "much",
        "APPLIANCE_ENGINE__BACKEND": "gpu",
        "APPLIANCE_LIVE__FPS": "900",
        "APPLIANCE_WEB__PROT": "1",
        "APPLIANCE_WEB__LANGUAGE": "fr",
    }
    with pytest.raises(SettingsProblems) as caught:
        load(wrong)
    said = {
        problem.variable.removeprefix("APPLIANCE_"): (
            GERMAN.sentence(problem.problem),
            GERMAN.sentence(problem.expected),
        )
        for problem in caught.value.problems
    }
    assert said["DETECTION__CONFIDENCE"] == ("ist keine Zahl", "Zahl, 0..1")
    assert said["ENGINE__BACKEND"] == (
        "gehört nicht zur Auswahl",
        "auto, tensorrt, rtx, cuda oder cpu",
    )
    assert said["LIVE__FPS"] == ("liegt außerhalb des Bereichs", "Zahl, 0.5..60")
    assert said["WEB__PROT"][0] == "ist keine Einstellung; meinten Sie APPLIANCE_WEB__PORT?"
    assert said["WEB__LANGUAGE"] == ("gehört nicht zur Auswahl", "auto, en oder de")


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("Gate is offline", "Gate ist offline"),
        ("Gate is stalled.", "Gate ist gestört."),
        (
            "Some results do not reach encoder (ValueError).",
            "Einige Ergebnisse erreichen encoder nicht (ValueError).",
        ),
        (
            "yolo: TensorRT has failed since the start",
            "yolo: TensorRT ist seit dem Start ausgefallen",
        ),
        (
            "Building yolo, 43 %: Comparing with the original (TensorRT does not run here: there "
            "is no NVIDIA driver)",
            "yolo wird gebaut, 43 %: Vergleich mit dem Original (TensorRT läuft hier nicht: kein "
            "NVIDIA-Treiber vorhanden)",
        ),
        ("No one has ever said this", "No one has ever said this"),
        ("this is quite or not known", "this is quite or not known"),
        ("The picture is incomplete or damaged.", "Das Bild ist unvollständig oder beschädigt."),
        ("", ""),
    ],
)
def test_sentences_within_sentences_are_said(english, german):
    """Reasons, asides and what follows a colon; what nobody knows stays as it is."""
    assert GERMAN.sentence(english) == german
    assert ENGLISH.sentence(english) == english


def test_a_sentence_never_takes_another_one_for_its_value():
    """What ends one sentence ends its value; the next is said by itself."""
    say = Sentences({"It is at {place}": "Es ist in {place}", "Look there.": "Dort nachsehen."}).say
    assert say("It is at Hall 3. Look there.") == "Es ist in Hall 3. Dort nachsehen."
    assert say("It is at v1.2. Look there.") == "Es ist in v1.2. Dort nachsehen."


def test_what_people_read_is_found_in_the_code(tmp_path):
    """Texts with their values, but no documentation, no log, no SQL and no single word."""
    code = tmp_path / "code.py"
    code.write_text(
        '"""A module that says things."""\n'
        "def go(path, error, names):\n"
        '    """Documentation of it."""\n'
        '    logger.warning("it goes to the log {}", path)\n'
        '    run("SELECT count(*) FROM audit", "word", x == "two words")\n'
        '    raise StoreError(f"{path}: cannot be read ({error.strerror})", hint="Look at it.")\n'
        "    return f\"{', '.join(sorted(names))} and {names[0]} more\"\n",
        encoding="utf-8",
    )
    with code.open("rb") as file:
        said = [text for _, _, text, marks in sentences(file, {}, (), {}) if marks == [MARK]]
    assert said == [
        "{path}: cannot be read ({strerror})",
        "Look at it.",
        "{names} and {names2} more",
    ]


def test_only_what_makes_a_text_has_a_template():
    """A name, a number or a call has none."""
    kinds = [ast.parse(code, mode="eval").body for code in ("x", "1", "f('a b')", "'a b'")]
    assert [template(kind) for kind in kinds] == [None, None, None, "a b"]
