#!/bin/sh
# Switches the station to another image, and back by itself when that one does not do well.
#
#   update.sh IMAGE    to this one, pulled where it is not here; NAME@sha256:... is exact
#   update.sh back     to the version before
#   update.sh resume   undoes what a power cut interrupted, and starts the station: for each boot
#
#   READY_S            seconds in which the new version must be ready: 300
#   WATCH_S            seconds for which it must stay well: 120
#
# Three names say all there is to know, and Docker moves each in one step: vision-appliance:cpu
# runs, :cpu-previous ran before, and :cpu-trial is there until the new one has proven itself.
# Wherever it is cut off, one version that worked is left, and `resume` finds it.
set -eu
cd "$(dirname "$0")"

BACKUP=/var/cache/vision-appliance/before-update.backup

say() {
  echo "update: $*" >&2
}

fail() {
  say "$*"
  exit 1
}

id_of() {
  docker image inspect --format '{{.Id}}' "$1" 2>/dev/null
}

# One command of an image's appliance, beside the station.
beside() {
  image=$1
  shift
  STATION_IMAGE=$image docker compose run --rm --no-deps -T "$service" "$@"
}

container() {
  docker compose ps --all --quiet "$service"
}

ready() {
  docker compose exec -T "$service" appliance health >/dev/null 2>&1
}

# A station that was not ready before need not be so after: then it only has to run on.
well() {
  if "$was_ready"; then
    ready
  else
    [ "$(docker inspect --format '{{.State.Running}}' "$(container)")" = true ]
  fi
}

ends_again_and_again() {
  [ "$(docker inspect --format '{{.RestartCount}}' "$(container)")" -ge 3 ]
}

# Whether it becomes well within READY_S, and stays so for WATCH_S but for a miss or two in a row.
proves_itself() {
  deadline=$(($(date +%s) + ${READY_S:-300}))
  until well; do
    if ends_again_and_again || [ "$(date +%s)" -ge "$deadline" ]; then return 1; fi
    sleep 1
  done
  deadline=$(($(date +%s) + ${WATCH_S:-120})) misses=0
  while [ "$(date +%s)" -lt "$deadline" ]; do
    sleep 1
    if well; then misses=0; else misses=$((misses + 1)); fi
    if ends_again_and_again || [ "$misses" -ge 3 ]; then return 1; fi
  done
}

# What can be found out while the version before still runs: settings, and engines.
prepare() {
  beside "$1" appliance check >/dev/null ||
    fail "the new version does not take this box's settings; nothing was changed"
  beside "$1" nice appliance build ||
    fail "the new version builds no engine here; nothing was changed"
  beside "$name" sh -c "rm -f $BACKUP && appliance backup $BACKUP" ||
    fail "the state cannot be saved; nothing was changed"
}

# The state is brought back only where the version before cannot read what the new one left.
switch_back() {
  docker tag "$name-previous" "$name"
  code=0
  beside "$name" appliance check >/dev/null 2>&1 || code=$?
  if [ "$code" -eq 1 ]; then
    docker compose stop "$service"
    beside "$name" appliance restore "$BACKUP"
  fi
  docker compose up --detach
  docker image rm "$name-trial" >/dev/null
}

update() {
  old=$(id_of "$name") || fail "$name is not here: build or load it first"
  id_of "$1" >/dev/null || docker pull "$1"
  new=$(id_of "$1")
  [ "$new" != "$old" ] || fail "$new runs already"
  was_ready=false
  if ready; then was_ready=true; fi
  prepare "$new"
  docker tag "$old" "$name-previous"
  docker tag "$new" "$name-trial"
  docker tag "$new" "$name"
  if docker compose up --detach && proves_itself; then
    docker image rm "$name-trial" >/dev/null
    docker image prune --force --filter label=org.opencontainers.image.title="Vision Appliance"
    say "$new runs; the version before is kept"
  else
    docker compose logs --tail 20 "$service" >&2
    switch_back
    fail "$new did not do well; the version before runs again"
  fi
}

back() {
  previous=$(id_of "$name-previous") || fail "there is no version before"
  replaced=$(id_of "$name")
  docker tag "$previous" "$name"
  docker tag "$replaced" "$name-previous"
  docker compose up --detach
  say "$previous runs"
}

resume() {
  if id_of "$name-trial" >/dev/null; then
    say "an update was cut off: back to the version before"
    switch_back
  fi
  docker compose up --detach
}

trap '' HUP # a connection that breaks cuts nothing off
exec 9>.update.lock
flock --nonblock 9 || fail "another update is under way"
service=$(docker compose config --services | grep -xE 'cpu|cuda|jetson') ||
  fail "COMPOSE_PROFILES in .env names none of cpu, cuda and jetson"
name=vision-appliance:$service
case "${1:-}" in
  back | resume) "$1" ;;
  '' | -*) fail "which image? The first lines of $0 say more" ;;
  *) update "$1" ;;
esac
