"""What the commands print of files that others made: nothing of it is more than letters."""

import ast
import json
import socket
import tarfile
import threading
from pathlib import Path

import onnx
import pytest

from appliance.delivery.results import RESULTS
from appliance.settings import environment
from appliance.terminal import Screen
from tests.support.models import bright_spots, write_bright_spots
from tests.support.process import run

ROOT = Path(__file__).parents[2] / "appliance"
TITLE = "\x1b]0;owned\x07"  # would give the terminal's window another title
HOSTILE = f"{TITLE}\x9b2J\r\nerror: forged \u202e:smile: [bold]"
SHOWN = r"\x1b]0;owned\x07\x9b2J\r\nerror: forged \u202e:smile: [bold]"


def test_a_text_is_one_line_of_letters(capsys):
    """Whatever would move the cursor, end the line or turn its direction is spelled out."""
    Screen().print(HOSTILE, "another")
    Screen(stderr=True).print(HOSTILE)
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [SHOWN, "another"]
    assert printed.err.splitlines() == [SHOWN]


def test_a_cell_is_one_line_of_letters(capsys):
    """In any column; the table keeps its rows."""
    Screen(width=400).table(("Name", "What"), [("a", HOSTILE), (TITLE, "b")])
    rows = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert rows[1].split(maxsplit=1) == ["a", SHOWN]
    assert rows[2].split(maxsplit=1) == [r"\x1b]0;owned\x07", "b"]
    assert len(rows) == 3


def test_the_commands_print_by_the_screen_alone():
    """No other way out is used in them, but JSON for the parent process, which is ASCII."""
    for path in (ROOT / "cli.py", ROOT / "cli_delivery.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        printing = [f.id for f in calls if isinstance(f, ast.Name) and f.id == "print"]
        assert printing == (["print"] if path.name == "cli.py" else [])
        ways = {f.attr for f in calls if isinstance(f, ast.Attribute)} & {"echo", "secho", "write"}
        assert ways == set()
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not any((name or "").partition(".")[0] == "rich" for name in imported)


def hostile_model(folder):
    """An ONNX file whose maker, inputs and outputs have such names."""
    model = bright_spots()
    model.producer_name = HOSTILE
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == model.graph.input[0].name:
                    names[index] = HOSTILE
    model.graph.input[0].name = HOSTILE
    path = folder / "hostile.onnx"
    onnx.save(model, str(path))
    return ("models", "inspect", str(path))


def hostile_card(folder):
    """A card whose title is such a text."""
    place = folder / "state" / "models" / "spots"
    write_bright_spots(place)
    card = place / "model.toml"
    text = card.read_text(encoding="utf-8").replace("Bright spots", json.dumps(HOSTILE)[1:-1])
    card.write_text(text, encoding="utf-8")
    return ("models", "list")


def hostile_cache(folder):
    """An engine whose record and folder have such texts."""
    engine = folder / "cache" / "engines" / "spots" / f"key{TITLE}"
    engine.mkdir(parents=True)
    key = {"backend": HOSTILE, "backend_version": "1"}
    proof = {"precision": "fp32", "verdict": "proven"}
    document = {"key": key, "verification": proof}
    (engine / "engine.json").write_text(json.dumps(document), encoding="utf-8")
    return ("engines", "list")


def hostile_update(folder):
    """A result that says such texts."""
    result = {"at": "2026-11-28T17:00:00+00:00", "order": HOSTILE, "is_done": False}
    result |= {"version": "0.2.0", "message": HOSTILE, "hint": HOSTILE}
    (folder / RESULTS).write_text(json.dumps(result) + "\n", encoding="utf-8")
    return ("update", "last", f"--folder={folder}")


def hostile_backup(folder):
    """A backup with a member of such a name."""
    path = folder / "hostile.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo(TITLE))
    return ("restore", str(path))


def hostile_folder(folder):
    """A model's file that is not there, in a folder of such a name."""
    return ("models", "inspect", str(folder / f"none{TITLE}.onnx"))


def hostile_station(folder):
    """Who listens on the socket of a station and answers with such texts."""
    state = folder / "state"
    state.mkdir()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(state / "health.sock"))
    listener.listen()
    answer = {"ready": True, "health": HOSTILE, "reasons": [HOSTILE], "notices": []}

    def answer_once():
        channel, _ = listener.accept()
        with listener, channel:
            channel.sendall(json.dumps(answer).encode())

    threading.Thread(target=answer_once, daemon=True).start()
    return ("health",)


@pytest.mark.parametrize(
    "made",
    [
        hostile_model,
        hostile_card,
        hostile_cache,
        hostile_update,
        hostile_backup,
        hostile_folder,
        hostile_station,
    ],
)
def test_no_file_speaks_to_the_terminal(tmp_path, made):
    """What a command tells of it is spelled out; it forges no line."""
    words = made(tmp_path)
    names = ("STATE", "CACHE")
    paths = {f"APPLIANCE_PATHS__{name}": str(tmp_path / name.lower()) for name in names}
    done = run({**environment(), **paths}, *words)
    printed = done.stdout + done.stderr
    assert r"\x1b]0;owned" in printed
    assert [letter for letter in printed if not letter.isprintable() and letter != "\n"] == []
    assert "\nerror: forged" not in printed
