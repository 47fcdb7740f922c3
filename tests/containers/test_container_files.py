"""What can be known of the container files without the boxes that they are for."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.dockerd import BASE_IMAGE, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DOCKER_DIR = ROOT / "docker"
BIN = Path(sys.executable).parent
STATIONS = ("cpu", "cuda", "jetson")
NO_INDEX = "the package index cannot be reached"
PLATFORMS = {
    "cpu": ("x86_64-manylinux_2_28", "3.11"),
    "cuda": ("x86_64-manylinux_2_28", "3.11"),
    "rtx": ("x86_64-manylinux_2_28", "3.11"),
    "jetson": ("aarch64-manylinux_2_34", "3.12"),
}
"""Of the boxes, as their base images have them: the C library, Python."""

STUBS = {"tensorrt", "tensorrt-cu13", "tensorrt-cu13-libs"} | {
    f"tensorrt-rtx{end}" for end in ("", "-cu13", "-cu13-libs")
}
"""NVIDIA's own, which come as a source that fetches the wheel from NVIDIA."""


@pytest.fixture
def folder(tmp_path):
    """docker/ with nothing but the two example files filled in."""
    copy = tmp_path / "docker"
    shutil.copytree(DOCKER_DIR, copy)
    shutil.copy(copy / ".env.example", copy / ".env")
    shutil.copy(copy / "station.env.example", copy / "station.env")
    return copy


def compose(folder, *words, files="compose.yaml", **environ):
    """Real Compose in a folder, which asks no engine for this."""
    return subprocess.run(
        [BIN / "docker-compose", *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "COMPOSE_FILE": files, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def configured(folder, profile, **options):
    """What Compose makes of the files for one profile."""
    done = compose(folder, "config", "--format", "json", COMPOSE_PROFILES=profile, **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["services"]


def test_the_dockerfile_has_no_finding():
    """By hadolint, with each rule that is passed over given its reason in place."""
    done = subprocess.run(
        [BIN / "hadolint", DOCKER_DIR / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("profile", STATIONS)
def test_the_examples_are_enough_to_start(folder, profile):
    """Compose takes the file for each kind of box, without a word."""
    done = compose(folder, "config", "--quiet", COMPOSE_PROFILES=profile)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert set(configured(folder, profile)) == {profile, "proxy"}


@pytest.mark.parametrize("profile", STATIONS)
def test_only_the_proxy_can_be_reached_and_everything_is_kept_down(folder, profile):
    """Nothing but its two ports is published; no container has more rights than it needs."""
    services = configured(folder, profile)
    assert "ports" not in services[profile]
    assert {port["target"] for port in services["proxy"]["ports"]} == {8080, 8443}
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert int(service["mem_limit"]) > 0, name
        assert service["pids_limit"] > 0, name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name
        assert not {"privileged", "network_mode", "pid", "ipc"} & set(service), name
    assert services[profile]["user"] == "10001:10001"
    assert services[profile]["pull_policy"] == "never"
    assert services["proxy"].get("cap_add") == ["NET_BIND_SERVICE"]


def test_gpus_are_handed_to_the_boxes_that_have_one(folder):
    """By the engine's own way on x86, by NVIDIA's runtime on Jetson."""
    devices = configured(folder, "cuda")["cuda"]["deploy"]["resources"]["reservations"]["devices"]
    assert [(it["driver"], it["count"], it["capabilities"]) for it in devices] == [
        ("nvidia", -1, ["gpu"])
    ]
    assert configured(folder, "jetson")["jetson"]["runtime"] == "nvidia"
    assert "deploy" not in configured(folder, "cpu")["cpu"]


def test_nginx_takes_caddys_place(folder):
    """The second file changes the proxy and nothing else; it wants a certificate."""
    files = "compose.yaml:compose.nginx.yaml"
    without = compose(folder, "config", "--quiet", files=files, COMPOSE_PROFILES="cpu")
    assert "PROXY_CERTIFICATE" in without.stderr
    own = {"PROXY_CERTIFICATE": "/certificates/a.crt", "PROXY_KEY": "/certificates/a.key"}
    services = configured(folder, "cpu", files=files, **own)
    plain = configured(folder, "cpu", **own)
    assert services["cpu"] == plain["cpu"]
    proxy = services["proxy"]
    assert proxy["image"].startswith("nginxinc/nginx-unprivileged:")
    assert proxy["ports"] == plain["proxy"]["ports"]
    assert "cap_add" not in proxy
    assert proxy["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("files", ["compose.yaml", "compose.yaml:compose.nginx.yaml"])
def test_the_header_of_a_sign_on_is_named_in_one_place(folder, files):
    """The station knows people by the very header that the proxy takes away from callers."""
    own = {"PROXY_CERTIFICATE": "/certificates/a.crt", "PROXY_KEY": "/certificates/a.key"}
    with (folder / "station.env").open("a") as settings:
        settings.write("APPLIANCE_AUTH__PROXY_HEADER=Elsewhere\n")
    for given in ({}, {"PROXY_USER_HEADER": "Remote-User", "PROXY_ROLE_HEADER": "Remote-Role"}):
        services = configured(folder, "cpu", files=files, **own, **given)
        station, proxy = services["cpu"]["environment"], services["proxy"]["environment"]
        for name, usual in (("USER", "X-Remote-User"), ("ROLE", "X-Remote-Role")):
            wanted = given.get(f"PROXY_{name}_HEADER", "")
            setting = {"USER": "PROXY_HEADER", "ROLE": "PROXY_ROLE_HEADER"}[name]
            assert station[f"APPLIANCE_AUTH__{setting}"] == wanted
            assert proxy[f"PROXY_{name}_HEADER"] == (wanted or usual)


def test_cameras_are_the_only_devices_that_are_added(folder):
    """The third file shows devices by name, and lets cameras be opened, by their group."""
    service = configured(folder, "cpu", files="compose.yaml:compose.camera.yaml")["cpu"]
    assert service["device_cgroup_rules"] == ["c 81:* rw"]
    assert service["group_add"] == ["44"]
    assert "devices" not in service


def test_the_example_names_every_variable_of_the_files_and_no_other():
    """What .env.example offers is taken, and what is taken is offered."""
    texts = [path.read_text() for path in sorted(DOCKER_DIR.glob("compose*.yaml"))]
    taken = {name for text in texts for name in re.findall(r"\$\{(\w+)", text)}
    taken |= set(re.findall(r"^ +(PROXY_\w+):(?: #.*)?$", texts[-1], re.M))
    example = (DOCKER_DIR / ".env.example").read_text()
    offered = set(re.findall(r"^#?([A-Z_]+)=", example, re.M))
    own = {"COMPOSE_PROFILES", "COMPOSE_FILE"}
    internal = {"STATION_IMAGE", "PROXY_IMAGE"}  # update.sh's; a registry of one's own
    assert taken - internal == offered - own


@pytest.mark.parametrize("extra", PLATFORMS)
def test_every_locked_package_is_there_for_its_box(extra, tmp_path):
    """Of the images that are never built here, too: one file each, by its hash."""
    platform, python = PLATFORMS[extra]
    lock = ROOT / "requirements" / f"{extra}.txt"
    names = set(re.findall(r"^([a-z0-9._-]+)==", lock.read_text(), re.M))
    wheels = [word for name in sorted(names - STUBS) for word in ("--only-binary", name)]
    command = ["pip", "install", "--dry-run", "--no-deps", "--require-hashes", *wheels]
    command += ["--target", str(tmp_path), "--requirement", str(lock)]
    command += ["--python-platform", platform, "--python-version", python]
    done = subprocess.run([BIN / "uv", *command], capture_output=True, text=True, check=False)
    if "Failed to fetch" in done.stderr or "dns error" in done.stderr:
        pytest.skip(f"{NO_INDEX}: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    assert len(names) > 70
    assert f"Would install {len(names)} packages" in done.stderr


def build(engine, extra, *words):
    """One build on a base that is here, to its end or its first mistake."""
    base = [f"--build-arg={name}={BASE_IMAGE}" for name in ("BASE_IMAGE", "JETSON_IMAGE")]
    command = ["build", "--file=docker/Dockerfile", f"--build-arg=EXTRA={extra}", *base, *words]
    environ = {"DOCKER_BUILDKIT": "1"}
    return engine.run(
        "docker", *command, "--network=host", ".", cwd=ROOT, check=False, environ=environ
    )


@pytest.mark.parametrize("extra", ["cpu", "cuda", "rtx"])
def test_the_images_of_x86_boxes_stand_on_one_system(engine, extra):
    """What lies below their packages is built for each, and is the same."""
    done = build(engine, extra, "--target=python", "--quiet")
    assert done.returncode == 0, done.stderr
    cpu = build(engine, "cpu", "--target=python", "--quiet")
    assert done.stdout == cpu.stdout


def test_the_image_for_jetson_wants_nothing_but_its_base(engine):
    """On another base it gets as far as NVIDIA's own package, which only that base knows."""
    done = build(engine, "jetson", "--target=python")
    assert done.returncode != 0
    assert "python3-libnvinfer" in done.stderr.strip().splitlines()[-1]


def test_another_kind_of_box_is_no_image(engine):
    """A misspelt one is told at once."""
    done = build(engine, "cpuu", "--target=python")
    assert done.returncode != 0
    assert "cpuu" in done.stderr.strip().splitlines()[-1]
