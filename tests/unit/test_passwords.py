"""Hashes of passwords."""

import subprocess
import sys

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from appliance.settings.secrets import (
    dummy_like,
    hash_password,
    is_hash,
    normalized,
    verify_password,
)

PASSWORD = "correct horse"
DUMMY_HASH = dummy_like(hash_password(PASSWORD))
QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


def test_a_hash_survives_every_way_of_writing_variables():
    """No $, comma, blank or quote, which shells, Compose or lists would take apart."""
    text = hash_password(PASSWORD)
    assert is_hash(text)
    assert not set(text) & set("$, '\"\\`:#;\n")
    assert verify_password(text, PASSWORD)
    assert not verify_password(text, PASSWORD + "x")


def test_two_hashes_of_one_password_differ():
    """Each has its own salt."""
    assert hash_password(PASSWORD) != hash_password(PASSWORD)


def test_the_original_form_is_accepted():
    """A hash made by another tool works as long as it arrives intact."""
    original = QUICK.hash(PASSWORD)
    assert original.startswith("$argon2id$")
    assert is_hash(original)
    assert verify_password(original, PASSWORD)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2",
        "$2b$12$abcdefghijklmnopqrstuv",
        DUMMY_HASH[:-30],
        DUMMY_HASH.replace("argon2id", "argon2i"),
        DUMMY_HASH.replace("m=65536", "m=9999999"),
        DUMMY_HASH.replace("t=3", "t=0"),
        DUMMY_HASH + "\n",
        DUMMY_HASH[:-1],
        DUMMY_HASH[:-1] + "B",  # bits that 32 bytes do not have
        DUMMY_HASH.replace("m=65536", "m=065536"),
        DUMMY_HASH.replace("A" * 22 + ".", "A" * 13 + "."),
        "=19=65536,t=3,p=4",
    ],
)
def test_what_is_no_hash_is_not_taken_for_one(text):
    """Nor one whose check would take all memory of the box."""
    assert not is_hash(text)


@pytest.mark.parametrize("text", ["", "hunter2", "\ud800", DUMMY_HASH[:-30]])
def test_nobody_has_the_password_of_what_is_no_hash(text):
    """It is a no, not an error."""
    assert not verify_password(text, text)


@given(position=st.integers(0, 200), letter=st.sampled_from("aZ0+/.~,$= é"))
def test_one_wrong_letter_is_never_an_error(position, letter):
    """A hash that was damaged on its way is either told at the start or fits no password."""
    whole = normalized(QUICK.hash(PASSWORD))
    position %= len(whole)
    damaged = whole[:position] + letter + whole[position + 1 :]
    if normalized(damaged) != whole:
        assert not verify_password(damaged, PASSWORD)


def test_the_dummy_takes_as_long_as_a_real_one():
    """Unknown users cost what known ones do: the parameters are the same, whoever made the hash."""
    for real in (hash_password(PASSWORD), QUICK.hash(PASSWORD)):
        dummy, cost = dummy_like(real), normalized(real).rsplit(".", 2)[0]
        assert cost.endswith(("m=65536~t=3~p=4", "m=64~t=1~p=1"))
        assert is_hash(dummy)
        assert dummy.startswith(f"{cost}.")
        assert not verify_password(dummy, PASSWORD)


@pytest.mark.parametrize("password", ["", "päss", "\ud800", "日本語", "a\0b"])
def test_any_text_may_be_a_password(password):
    """Whatever a form sends is hashed or refused, never an error."""
    assert verify_password(hash_password(password), password)


def test_letters_with_accents_are_the_same_from_every_keyboard():
    """One letter, or a letter and its accent."""
    assert verify_password(hash_password("p\u00e4ss"), "pa\u0308ss")


def test_a_box_without_memory_says_so():
    """It must not look like a wrong password."""
    program = (
        "import resource\n"
        "from appliance.settings.secrets import verify_password\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))\n"
        f"verify_password('{DUMMY_HASH.replace('m=65536', 'm=1048576')}', 'x')\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "ApplianceError: the password could not be checked" in done.stderr
