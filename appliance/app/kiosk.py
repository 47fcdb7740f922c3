"""The kiosk's server, beside the page's: on the loopback, whatever else is set."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from loguru import logger

from appliance import __version__
from appliance.app.servers import Server, configuration, listen_on
from appliance.settings import Kiosk as KioskSettings
from appliance.settings import Settings
from appliance.texts import Languages
from appliance.web.access.connections import KioskConnection
from appliance.web.access.reach import Reach
from appliance.web.live.hub import LiveHub
from appliance.web.live.kiosk import KioskKey, kiosk_application
from appliance.web.templates import Pages

LOOPBACK = "127.0.0.1"


@contextmanager
def kiosk_listening(settings: KioskSettings) -> Iterator[socket.socket | None]:
    """The kiosk's socket; None where it is off.

    Raises:
        ListenError, SettingsError: its port cannot be had.
    """
    if not settings.port:
        yield None
        return
    hint = "Name another port in APPLIANCE_KIOSK__PORT, or 0 for none."
    with listen_on("kiosk", LOOPBACK, settings.port, hint=hint) as own:
        yield own


class Kiosk:
    """Serves the host's own screen.

    Args:
        hub: brings the pictures.
        listener: on the loopback; None serves nothing.
        settings: of the station, whose name and addresses are shown.
        languages: of whoever stands before the screen.
    """

    def __init__(
        self, hub: LiveHub, listener: socket.socket | None, settings: Settings, languages: Languages
    ) -> None:
        pages = Pages(base="", station_name=settings.station.name, version=__version__)
        config = configuration(KioskConnection)
        if settings.kiosk.key is not None:  # as always where there is a port: loading sees to it
            key = KioskKey(settings.kiosk.key.get_secret_value())
            places = Reach(settings.web).places
            config.app = kiosk_application(hub, pages, languages, places, key)
        self._server = Server(config, leaving=lambda: None)
        self._listener = listener

    async def serve(self) -> None:
        """Until told to leave; at once, where the kiosk is off."""
        if self._listener is not None:
            logger.info("kiosk: http://{}:{}/", *self._listener.getsockname())
            await self._server.serve(sockets=[self._listener])

    def leave(self) -> None:
        """End soon."""
        self._server.should_exit = True
