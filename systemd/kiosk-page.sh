#!/bin/sh
# Writes the page with which the kiosk's browser begins: by itself it brings the key to the station.
# The browser's command line then holds the page's path alone, and others of the host, who may read
# command lines, may not read the page. So the key is no argument of any program here, either.
#   CREDENTIALS_DIRECTORY  where the key is, as kiosk__key
#   RUNTIME_DIRECTORY      where the page goes
#   KIOSK_URL              of the station's kiosk, with a slash at its end
set -eu
umask 077

read -r key <"$CREDENTIALS_DIRECTORY/kiosk__key" || [ -n "$key" ] # it may lack its line end
cat >"$RUNTIME_DIRECTORY/kiosk.html" <<PAGE
<!doctype html>
<meta charset="utf-8">
<title>Kiosk</title>
<form method="post" action="${KIOSK_URL}enter"><input type="hidden" name="key" value="$key"></form>
<script>document.forms[0].submit();</script>
PAGE
