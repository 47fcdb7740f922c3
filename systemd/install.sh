#!/bin/sh
# Puts the station on a host without containers: a release of its own below /opt, and the units.
# `make install` runs it; it may run again at any time, and never touches state or settings.
#   DESTDIR  where the host's root is; empty is this host
#   EXTRA    which of requirements/*.txt: cpu, cuda, rtx or jetson
#   PYTHON   what makes the environment; must lie there on the host as well
set -eu
cd "$(dirname "$0")/.."
umask 022

DESTDIR=${DESTDIR:-} EXTRA=${EXTRA:-cpu} PYTHON=${PYTHON:-python3}
HOME_DIR=/opt/vision-appliance
CONFIG_DIR=/etc/vision-appliance
UNIT_DIR=/usr/lib/systemd/system
SHARE_DIR=/usr/share/vision-appliance

usable_python() { # the unit hides people's homes
  real=$("$PYTHON" -c 'import os, sys; print(os.path.realpath(sys.executable))')
  case $real in
  /home/* | /root/*)
    echo "error: $PYTHON lies in a home folder, which the station does not see" >&2
    echo "  Name another one: make install PYTHON=/usr/bin/python3" >&2
    exit 1
    ;;
  esac
}

pip() { # of an environment, then pip's arguments
  environment=$1
  shift
  "$environment/bin/python" -m pip --quiet --disable-pip-version-check "$@"
}

wheel() { # built from this checkout into a folder; prints its path
  "$PYTHON" -m venv "$1/builder"
  pip "$1/builder" install --require-hashes --requirement requirements/build.txt
  pip "$1/builder" wheel --no-deps --no-build-isolation --wheel-dir "$1" .
  echo "$1"/*.whl
}

content() { # a release is made anew when this changes
  cat "$1" "requirements/$EXTRA.txt" requirements/npm.txt systemd/install.sh | sha256sum | cut -d ' ' -f 1
  "$PYTHON" --version
}

environment() { # with the wheel in it, at a place from which it is moved to its own
  options="--prompt vision-appliance"
  [ "$EXTRA" != jetson ] || options="$options --system-site-packages" # TensorRT is the system's
  # shellcheck disable=SC2086 # options are words
  "$PYTHON" -m venv $options "$1"
  pip "$1" install --require-hashes --requirement "requirements/$EXTRA.txt"
  command -v npm >/dev/null || pip "$1" install --require-hashes --requirement requirements/npm.txt
  pip "$1" install --no-deps "$2"
}

settle() { # an environment that was made at one path, and will lie at another
  grep --files-with-matches --recursive --binary-files=without-match --fixed-strings --null \
    "$1" "$1/bin" "$1/pyvenv.cfg" | xargs --null sed --in-place "s|$1|$2|g"
}

release() { # makes it, unless it is there as it should be
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  wheel=$(wheel "$work")
  version=$(basename "$wheel" | cut -d - -f 2)
  home=$DESTDIR$HOME_DIR/releases
  content=$(content "$wheel")
  if [ "$content" != "$(cat "$home/$version/complete" 2>/dev/null)" ]; then
    partial=$home/.$version.partial
    rm -rf "$partial" "$home/.$version.old"
    mkdir -p "$home"
    environment "$partial" "$wheel"
    settle "$partial" "$HOME_DIR/releases/$version"
    sync -f "$partial"
    echo "$content" >"$partial/complete"
    sync "$partial/complete"
    [ ! -e "$home/$version" ] || mv "$home/$version" "$home/.$version.old"
    mv "$partial" "$home/$version"
    rm -rf "$home/.$version.old"
  fi
  ln -sfn "releases/$version" "$DESTDIR$HOME_DIR/.current"
  mv -T "$DESTDIR$HOME_DIR/.current" "$DESTDIR$HOME_DIR/current"
}

units() {
  for unit in systemd/*.service systemd/*.path systemd/*.timer; do
    [ ! -e "$unit" ] || install -D -m 644 -t "$DESTDIR$UNIT_DIR" "$unit"
  done
  for folder in systemd/*.service.d; do # of links to one file
    install -D -m 644 -t "$DESTDIR$UNIT_DIR/${folder#systemd/}" "$folder"/*.conf
  done
  install -D -m 644 -t "$DESTDIR$SHARE_DIR/options" systemd/options/*.conf
  install -D -m 644 -t "$DESTDIR$SHARE_DIR" systemd/watchdog.conf systemd/kiosk-page.sh
  install -D -m 755 systemd/appliance.sh "$DESTDIR/usr/bin/appliance"
  install -D -m 644 systemd/sysusers.conf "$DESTDIR/usr/lib/sysusers.d/vision-appliance.conf"
}

configuration() { # what a person has written stays
  install -d -m 755 "$DESTDIR$CONFIG_DIR"
  install -d -m 700 "$DESTDIR$CONFIG_DIR/credentials"
  install -d -m 755 "$DESTDIR$CONFIG_DIR/update-keys" "$DESTDIR/var/lib/vision-appliance-update/inbox"
  install -D -m 644 .env.example "$DESTDIR$SHARE_DIR/appliance.env"
  [ -e "$DESTDIR$CONFIG_DIR/appliance.env" ] ||
    install -m 600 .env.example "$DESTDIR$CONFIG_DIR/appliance.env"
}

kiosk_key() { # one for each host: never in what is made below DESTDIR, for many
  file=$CONFIG_DIR/credentials/kiosk__key
  [ -e "$file" ] || (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$file")
}

usable_python
release
units
configuration
if [ -z "$DESTDIR" ]; then
  kiosk_key
  systemd-sysusers vision-appliance.conf
  [ ! -d /run/systemd/system ] || systemctl daemon-reload
fi
