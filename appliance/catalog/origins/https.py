"""Downloads one file over https, and over nothing else."""

from pathlib import Path
from typing import Final

import httpx

from appliance.catalog.files import MAX_MODEL_BYTES, PIECE_BYTES, write_capped
from appliance.catalog.origins.packages import ONLINE_HINT
from appliance.errors import ModelError

SILENCE_S: Final = 30.0  # until an answer, and between two pieces


def download_https(
    url: str, destination: Path, *, transport: httpx.BaseTransport | None = None
) -> None:
    """Write the file behind `url` to `destination`, following redirects that stay on https.

    Raises:
        ModelError: no connection, an error answer, too long a silence, or too large a file.
    """
    client = httpx.Client(
        transport=transport,
        timeout=SILENCE_S,
        follow_redirects=True,
        event_hooks={"request": [_only_https]},
    )
    # Only the host is ever named: addresses of downloads often carry a signature.
    host = httpx.URL(url).host
    try:
        with client, client.stream("GET", url) as response:
            response.raise_for_status()
            content = response.iter_bytes(PIECE_BYTES)
            write_capped(content, destination, limit_bytes=MAX_MODEL_BYTES)
    except httpx.HTTPStatusError as error:
        answer = f"{error.response.status_code} {error.response.reason_phrase}"
        raise ModelError(
            f"{host}: expected the file, got {answer}", hint="check origin.url in the model's card"
        ) from None
    except httpx.HTTPError as error:
        raise ModelError(f"{host}: {type(error).__name__}", hint=ONLINE_HINT) from None


def _only_https(request: httpx.Request) -> None:
    """Runs before every request, redirected ones too."""
    if request.url.scheme != "https":
        raise ModelError(
            f"{request.url.host}: expected https, got a redirect to {request.url.scheme}",
            hint="use an address that stays on https",
        )
