"""Every block of commands in the documents is run by a test, or stands here as one that is not."""

import re
from pathlib import Path

import pytest

from appliance.settings import load
from tests.support.commands import ROOT

BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

HERE = "test_blocks_of_variables_are_settings"
# By what a block begins with: the test that runs its lines, as they stand.
RUN = {
    "README.md": {
        "make demo": "test_two_commands_lead_to_a_page_that_sees",
        "make setup": "test_the_readmes_lines_lead_to_a_station",
    },
    "docs/heads.md": {"appliance build parts": "test_the_line_that_builds_a_model_of_ones_own"},
    "docs/install.md": {
        "make image": "test_docker_calls_it_healthy",
        "cd docker": "test_docker_calls_it_healthy",
        "systemd-ask-password": "test_docker_calls_it_healthy",
        "docker compose run": "test_docker_calls_it_healthy",
        "sudo docker compose cp": "test_a_stranger_finds_the_authority_to_trust",
        "sudo chown $OWNER": "test_a_certificate_of_ones_own_takes_the_place_of_the_one_before",
        "apt install": "test_the_steps_of_the_installation_lead_to_a_service",
        "appliance models pull": "test_the_steps_of_the_installation_lead_to_a_service",
        "mkdir -p": "test_what_was_installed_goes_again",
        "systemctl disable": "test_what_was_installed_goes_again",
    },
    "docs/integrate.md": {"appliance token new": "test_a_token_is_made_by_the_documented_line"},
    "docs/kiosk.md": {"APPLIANCE_": HERE},
    "docs/operate.md": {
        "APPLIANCE_": HERE,
        "openssl req": "test_caddy_serves_a_certificate_of_ones_own",
        "openssl genpkey": "test_the_documented_commands_make_keys_and_verify_a_bundle",
        "tar -xf": "test_the_documented_commands_make_keys_and_verify_a_bundle",
        "adduser": "test_it_brings_a_bundle_and_reads_what_became_of_it",
        "tar -C /etc -czf": "test_a_new_box_goes_on_where_the_old_one_was",
        "tar -C /etc -xzf": "test_a_new_box_goes_on_where_the_old_one_was",
    },
}
# And why no test types the others; most do in another form what some test does.
NOT_RUN = {
    "README.md": {"make test": "it is what runs the tests"},
    "docs/engines.md": {
        "make setup EXTRA=cuda": "needs a GPU",
        "sudo apt install nvidia-jetpack": "needs a Jetson",
    },
    "docs/install.md": {
        "cd /opt/vision-appliance": "a folder of the reader's",
        "sudo systemctl enable": "needs systemd and Docker on one host; the unit is tested",
    },
    "docs/integrate.md": {"curl": "needs the reader's station and players; the routes are tested"},
    "docs/kiosk.md": {
        "(umask 077; openssl rand": "the key that the installer makes is tested",
        "apt install cage": "needs a screen; the unit is tested without one",
    },
    "docs/operate.md": {
        "make setup": "downloads a whole release; the command is tested with wheels at hand",
        "cp maker.pem": "the units that it starts are tested",
        "appliance backup - >": "the command is tested, and both lines in the new host's blocks",
        "systemctl stop appliance": "the command is tested, and its line in the new host's blocks",
        "mkdir -p /etc/systemd/system.conf.d": "typed by hand in the test of the watchdog",
        "./update.sh": "needs a registry; the script is tested on an image that was built",
        "docker compose exec": "the commands are tested, outside of containers",
    },
}


def blocks_of(page):
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def beginning(block, known):
    """Which of the known beginnings a block has; it must be one."""
    found = [each for each in known if block.strip().startswith(each)]
    return max(found, key=len, default=None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_commands_is_run_or_is_known_not_to_be(page):
    """A new block needs a test that types it, or a reason; one that has gone needs neither."""
    name = str(page.relative_to(ROOT))
    known = {**RUN.get(name, {}), **NOT_RUN.get(name, {})}
    begun = [beginning(block, known) for block in blocks_of(page)]
    assert None not in begun, blocks_of(page)[begun.index(None)]
    assert set(begun) == set(known)


def test_the_tests_that_run_blocks_are_there():
    """None of them was renamed or went."""
    code = "\n".join(
        path.read_text(encoding="utf-8") for path in Path(ROOT / "tests").rglob("*.py")
    )
    there = set(re.findall(r"^def (test_\w+)", code, re.MULTILINE))
    named = {test for tests in RUN.values() for test in tests.values()}
    assert named - there == set()


def test_blocks_of_variables_are_settings(tmp_path):
    """Each can be copied into an environment file as it is, but for what stands behind a #.

    Secrets are files, as the installer and the pages have them.
    """
    (tmp_path / "kiosk__key").write_text("0123456789abcdef" * 2)
    count = 0
    for page in PAGES:
        for block in blocks_of(page):
            if block.startswith("APPLIANCE_"):
                lines = [line.partition(" #")[0] for line in block.splitlines()]
                environ = dict(line.strip().split("=", 1) for line in lines)
                assert load(environ, secrets_dir=tmp_path).origins
                count += 1
    assert count == 2
