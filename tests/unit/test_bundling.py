"""Modules become one script, which does what they do."""

import re

import pytest

from appliance.web.bundling import joined_modules
from appliance.web.files import STATIC, made_files


def write(folder, **modules):
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text, encoding="utf-8")
    return folder / "entry.js"


def test_each_module_comes_once_and_after_what_it_imports(tmp_path):
    """In the order in which browsers run them; names of one do not meet those of another."""
    entry = write(
        tmp_path,
        entry='import { b } from "./b.js";\nimport {\n  a,\n} from "./a.js";\nconst own = a + b;\n',
        a="const own = 1;\nexport const a = own;\n",
        b='import { a } from "./a.js";\nimport "./c.js";\nexport function b() {}\n',
        c="export class C {}\n",
    )
    text = joined_modules(entry)
    assert re.findall(r"^// (\w+)\.js$", text, re.MULTILINE) == ["a", "c", "b", "entry"]
    assert not re.search(r"^(import|export)\b", text, re.MULTILINE)
    assert "return { a };" in text
    assert "const { a } = $0;" in text


@pytest.mark.parametrize(
    "line",
    [
        'import a from "./a.js";',
        'import * as a from "./a.js";',
        'import { a } from "elsewhere";',
        "export default 1;",
        "export { a };",
        'export * from "./a.js";',
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, line):
    """A script that lacks a part would show itself only in a browser."""
    entry = write(tmp_path, entry=f"{line}\n", a="export const a = 1;\n")
    with pytest.raises(ValueError, match=r"entry\.js: this is not understood: "):
        joined_modules(entry)


def test_modules_that_import_each_other_are_refused(tmp_path):
    """Neither could come first."""
    entry = write(tmp_path, entry='import "./a.js";\n', a='import "./entry.js";\n')
    with pytest.raises(ValueError, match=r"entry\.js: it imports itself"):
        joined_modules(entry)


def test_every_source_is_in_a_file_of_ours():
    """None that a page needs is forgotten, and none lies about that no page loads."""
    made = "\n".join(file.content.decode() for file in made_files().values())
    sources = [path for path in STATIC.parent.rglob("*") if path.suffix in {".js", ".css"}]
    assert len(sources) > 30
    for path in sources:
        text = path.read_text(encoding="utf-8")
        # Imports and `export` are taken away: the longest line that is neither tells.
        lines = [line for line in text.splitlines() if not line.startswith(("import", "export"))]
        assert max(lines, key=len) in made, path.name


def test_a_files_name_follows_its_content_and_nothing_else():
    """The same at every start, so that browsers keep it; 12 digits of its hash."""
    for name, file in made_files().items():
        stem, _, ending = name.partition(".")
        assert re.fullmatch(rf"{stem}-[0-9a-f]{{12}}\.{ending}", file.place)
    assert len({file.place for file in made_files().values()}) == len(made_files())
