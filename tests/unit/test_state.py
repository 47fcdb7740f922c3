"""The mark in the state folder."""

import pytest

from appliance.app.state import FORM, MARK_FILE, claim_state
from appliance.errors import StoreError


def test_a_new_folder_is_marked_once(tmp_path):
    """With our form and nothing beside it; the next start leaves it as it is."""
    claim_state(tmp_path)
    (mark,) = tmp_path.iterdir()
    assert (mark.name, mark.read_text()) == (MARK_FILE, f"{FORM}\n")
    before = mark.stat()
    claim_state(tmp_path)
    assert mark.stat() == before


def test_what_a_newer_release_wrote_is_left_alone(tmp_path):
    """Both forms are named, the way out as well, and the mark stays."""
    (tmp_path / MARK_FILE).write_text(f"{FORM + 1}\n")
    with pytest.raises(StoreError, match=f"got form {FORM + 1} of a newer one") as caught:
        claim_state(tmp_path)
    assert "APPLIANCE_PATHS__STATE" in caught.value.hint
    assert (tmp_path / MARK_FILE).read_text() == f"{FORM + 1}\n"


@pytest.mark.parametrize("content", [b"", b"one", b"-1", b"\xff\xfe", "\u0661".encode()])
def test_a_damaged_mark_is_no_guess(tmp_path, content):
    """What cannot be read is neither old nor new."""
    (tmp_path / MARK_FILE).write_bytes(content)
    with pytest.raises(StoreError, match="expected a whole number"):
        claim_state(tmp_path)


def test_a_mark_that_is_no_file_is_told(tmp_path):
    """By its name, with the reason."""
    (tmp_path / MARK_FILE).mkdir()
    with pytest.raises(StoreError, match="form: cannot be read"):
        claim_state(tmp_path)
