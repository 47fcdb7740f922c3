#!/bin/sh
# Runs a command of the appliance as the station runs: as its user, with its settings and secrets.
set -eu
terminal=--pipe
if [ -t 0 ] && [ -t 1 ]; then terminal=--pty; fi
exec systemd-run --quiet --collect --wait "$terminal" --service-type=exec \
  --property=User=vision-appliance \
  --property=EnvironmentFile=/etc/vision-appliance/appliance.env \
  --property=LoadCredential=appliance:/etc/vision-appliance/credentials \
  --property=StateDirectory=vision-appliance --property=StateDirectoryMode=0700 \
  --property=CacheDirectory=vision-appliance --property=CacheDirectoryMode=0700 \
  --property=UMask=0077 \
  -- /opt/vision-appliance/current/bin/appliance "$@"
