"""The live view's server side, over real sockets: one acknowledged WebSocket for each page."""

import contextlib
import json
import socket
import struct
import threading

import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from appliance.app.servers import configuration as server_config
from appliance.readings import PictureReading
from appliance.settings import Role
from appliance.values import Skip
from tests.support.fakes import wait_until
from tests.support.web import IDLE_S, make_web, picture_of

READING_PERIOD_S = 0.1  # a fifth of the real one, so that the tests wait less
PATIENCE_S = 10


class Viewer:
    """A page, as far as the server can tell."""

    def __init__(self, connection):
        self.connection = connection

    def say(self, **message):
        self.connection.send(json.dumps(message))

    def station(self):
        """The next reading; pictures before it are passed over."""
        while not isinstance(message := self.connection.recv(PATIENCE_S), str):
            pass
        return json.loads(message)

    def picture(self):
        """Header and JPEG of the next picture; readings before it are passed over."""
        while not isinstance(message := self.connection.recv(PATIENCE_S), bytes):
            pass
        (length,) = struct.unpack(">I", message[:4])
        return json.loads(message[4 : 4 + length]), message[4 + length :]

    def nothing_more(self):
        """Whether no picture comes during three readings."""
        return not any(isinstance(self.connection.recv(PATIENCE_S), bytes) for _ in range(3))

    def close_code(self):
        """The code with which the server ends the connection; 1006 where it just hangs up."""
        try:
            while True:
                self.connection.recv(PATIENCE_S)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


class Served:
    """The application on a port of its own, and the viewers that a test opens."""

    def __init__(self, web, port, stack):
        self.web, self.port, self._stack = web, port, stack
        web.host = f"127.0.0.1:{port}"
        self.hub = web.parts.hub

    def view(self, role=Role.VIEWER, **options):
        origin = f"http://127.0.0.1:{self.port}"
        url = f"ws://127.0.0.1:{self.port}/live"
        headers = {"Cookie": self.web.cookie(role)}
        opened = connect(url, origin=origin, additional_headers=headers, **options)
        return Viewer(self._stack.enter_context(opened))

    def watch(self, *cameras, **options):
        """A viewer whose wish to see these cameras has arrived."""
        viewer = self.view(**options)
        viewer.say(watch=list(cameras))
        wait_until(lambda: all(self.watched(camera) for camera in cameras))
        return viewer

    def watched(self, camera):
        return self.web.encoder._watched[camera]


@pytest.fixture
def served(monkeypatch):
    monkeypatch.setattr("appliance.web.live.hub.READING_PERIOD_S", READING_PERIOD_S)
    web = make_web(viewers=3)
    config = server_config()
    config.app, config.lifespan = (
        web.app,
        "off",
    )  # the lifespan makes Gradio's page, not needed here
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        thread = threading.Thread(target=server.run, args=[[listener]])
        thread.start()
        wait_until(lambda: server.started)
        try:
            yield Served(web, listener.getsockname()[1], stack)
        finally:
            stack.close()
            server.should_exit = True
            thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_page_is_told_at_once_how_the_station_is(served):
    """The first message is a reading: who looks, the cameras, the engine, the session's end."""
    told = served.view(Role.OPERATOR).station()
    assert told["type"] == "station"
    boot = told["station"].pop("boot")
    assert told["station"] == {
        "name": "Hall 3",
        "version": "0.0",
        "page": False,
        "user": "otto",
        "role": "operator",
    }
    assert told["session"] == {"ends_in_s": IDLE_S, "by": "idle", "idle_s": IDLE_S}
    assert [camera["key"] for camera in told["cameras"]] == ["gate"]
    served.hub.page_is_up()
    again = served.view(Role.OPERATOR).station()["station"]
    assert (again["boot"], again["page"]) == (boot, True)
    assert make_web().parts.hub._station["boot"] != boot


def test_pictures_come_only_for_cameras_that_are_watched(served):
    """Who watches nothing gets readings alone."""
    viewer = served.watch("gate")
    served.hub.publish(picture_of("dock", 1))
    served.hub.publish(picture_of("gate", 7, b"jpeg"))
    header, jpeg = viewer.picture()
    assert (header["camera"], header["sequence"], jpeg) == ("gate", 7, b"jpeg")
    assert viewer.nothing_more()


def test_the_next_picture_waits_until_the_one_before_was_drawn(served):
    """Without an acknowledgment there is no second picture."""
    viewer = served.watch("gate")
    served.hub.publish(picture_of("gate", 1))
    assert viewer.picture()[0]["sequence"] == 1
    served.hub.publish(picture_of("gate", 2))
    assert viewer.nothing_more()
    viewer.say(ack="gate")
    assert viewer.picture()[0]["sequence"] == 2


def test_a_slow_viewer_gets_the_newest_picture_and_none_before_it(served):
    """What was published while it drew is passed over, and counted (O-08)."""
    viewer = served.watch("gate")
    served.hub.publish(picture_of("gate", 1))
    assert viewer.picture()[0]["sequence"] == 1
    for sequence in range(2, 30):
        served.hub.publish(picture_of("gate", sequence))
    viewer.station()
    viewer.say(ack="gate")
    assert viewer.picture()[0]["sequence"] == 29
    told = PictureReading(sent=2, skips={Skip.VIEWER: 27})
    wait_until(lambda: served.web.encoder.pictures() == {"gate": told})


def test_an_acknowledgment_without_a_new_picture_brings_no_old_one(served):
    """The same picture is never sent twice."""
    viewer = served.watch("gate")
    served.hub.publish(picture_of("gate", 1))
    assert viewer.picture()[0]["sequence"] == 1
    viewer.say(ack="gate")
    assert viewer.nothing_more()


def test_each_camera_has_its_own_turn(served):
    """A camera that was not acknowledged holds no other one up."""
    viewer = served.watch("gate", "dock")
    served.hub.publish(picture_of("gate", 1))
    assert viewer.picture()[0]["camera"] == "gate"
    served.hub.publish(picture_of("dock", 1))
    assert viewer.picture()[0]["camera"] == "dock"


def test_a_viewer_that_draws_nothing_costs_the_others_nothing(served):
    """One page hangs, the other one gets every picture."""
    served.watch("gate")
    quick = served.watch("gate")
    for sequence in range(1, 20):
        served.hub.publish(picture_of("gate", sequence, b"x" * 500_000))
        assert quick.picture()[0]["sequence"] == sequence
        quick.say(ack="gate")


def test_whoever_comes_back_sees_no_picture_from_before(served):
    """The last picture goes with its last viewer: later it would pass for a new one."""
    first = served.watch("gate")
    served.hub.publish(picture_of("gate", 1))
    assert first.picture()[0]["sequence"] == 1
    first.say(watch=[])
    wait_until(lambda: not served.watched("gate"))
    served.hub.publish(picture_of("gate", 2))  # one that was under way
    again = served.watch("gate")
    assert again.nothing_more()
    served.hub.publish(picture_of("gate", 3))
    assert again.picture()[0]["sequence"] == 3


def test_the_encoder_sleeps_when_the_viewer_goes(served):
    """A page that closes, in order or not, is watched for no longer."""
    viewer = served.watch("gate", "dock")
    assert (served.watched("gate"), served.hub.count()) == (1, 1)
    viewer.connection.socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: served.hub.count() == 0)
    assert (served.watched("gate"), served.watched("dock")) == (0, 0)


def test_a_paused_page_lets_the_encoder_sleep_and_stays_connected(served):
    """A page in the background watches nothing, and goes on when it is seen again."""
    viewer = served.watch("gate")
    viewer.say(watch=[])
    wait_until(lambda: not served.watched("gate"))
    assert viewer.station()["type"] == "station"
    viewer.say(watch=["gate"])
    wait_until(lambda: served.watched("gate"))
    served.hub.publish(picture_of("gate", 1))
    assert viewer.picture()[0]["sequence"] == 1


def test_unknown_cameras_are_passed_over(served):
    """Keys that no camera has, or that are no keys, watch nothing and harm nothing."""
    viewer = served.view()
    viewer.say(watch=["attic", 7, None, ["gate"]], ack="attic")
    viewer.say(ack=["gate"])
    viewer.say(watch=["attic", "dock"])
    wait_until(lambda: served.watched("dock"))
    assert set(served.web.encoder._watched) == {"dock"}


@pytest.mark.parametrize("garbage", ["", "x", "[]", "7", "null", '"watch"', b"\x00", "[" * 9000])
def test_a_client_that_speaks_no_protocol_of_ours_is_let_go(served, garbage):
    """Whatever does not come from our page ends the connection, and frees its place."""
    viewer = served.watch("gate")
    viewer.connection.send(garbage)
    viewer.close_code()
    wait_until(lambda: served.hub.count() == 0)
    assert served.watched("gate") == 0


def test_one_viewer_too_many_is_told_so(served):
    """Past the limit the page learns why (4429); a place that gets free is given away again."""
    viewers = [served.view() for _ in range(3)]
    wait_until(lambda: served.hub.count() == 3)
    assert served.view().close_code() == 4429
    viewers[0].connection.close()
    wait_until(lambda: served.hub.count() == 2)
    assert served.view().station()["type"] == "station"


def test_one_person_does_not_take_every_place(served):
    """Another one gets in: the first one's newest view ends, and learns why."""
    views = [served.view(Role.VIEWER) for _ in range(3)]
    wait_until(lambda: served.hub.count() == 3)
    for view in views:
        view.station()
    assert served.view(Role.ADMIN).station()["station"]["user"] == "ada"
    assert views[-1].close_code() == 4429
    assert views[0].station()["type"] == "station"
    assert served.hub.count() == 3


def test_a_session_that_ends_ends_the_live_view(served):
    """However the session ends, the page is told to sign in (4401), and why."""
    left_alone = served.view()
    left_alone.station()
    served.web.clock.advance(IDLE_S + 1)
    assert left_alone.close_code() == 4401
    assert left_alone.connection.close_reason == "idle"


@pytest.mark.parametrize("end", ["close", "revoke", "revoke_user"])
def test_a_session_that_is_ended_ends_its_live_views_and_no_other(served, end):
    """By whoever ends it, on this page or from elsewhere; another person's view goes on."""
    sessions = served.web.parts.sessions
    views, other = [served.view(Role.OPERATOR) for _ in range(2)], served.view(Role.ADMIN)
    for view in (*views, other):
        view.station()
    tokens = [view.connection.request.headers["Cookie"].partition("=")[2] for view in views]
    for token in tokens:
        session = sessions.find(token)
        values = {"close": token, "revoke": session and session.id, "revoke_user": "otto"}
        getattr(sessions, end)(values[end])
    assert [view.close_code() for view in views] == [4401, 4401]
    why = "left" if end == "close" else "revoked"
    assert [view.connection.close_reason for view in views] == [why, why]
    assert other.station()["station"]["user"] == "ada"


@pytest.mark.slow
def test_a_client_that_reads_nothing_does_not_outlive_its_session(served, monkeypatch):
    """The server waits for it to read a picture, and gives up as soon as its session is over."""
    monkeypatch.setattr("appliance.web.live.hub.SEND_TIMEOUT_S", 1000.0)
    viewer = served.watch("gate", max_queue=1, close_timeout=0.1)  # its socket is read no further
    sent = 0

    def is_stuck():
        nonlocal sent
        sent += 1
        served.hub.publish(picture_of("gate", sent, b"x" * 1_000_000))
        viewer.say(ack="gate")
        return sent > served.web.encoder.pictures().get("gate", PictureReading()).sent + 20

    wait_until(is_stuck, timeout_s=20)
    served.web.clock.advance(IDLE_S + 1)
    wait_until(lambda: served.hub.count() == 0)


def test_looking_is_no_use_and_a_persons_doing_is(served):
    """Acknowledged pictures do not keep a session alive; what a person does on the page does."""
    idle, active = served.watch("gate"), served.view()
    served.web.clock.advance(IDLE_S - 1)
    wait_until(lambda: active.station()["session"]["ends_in_s"] == 1)
    idle.say(ack="gate")
    active.say(active=True)
    wait_until(lambda: active.station()["session"]["ends_in_s"] == IDLE_S)
    served.web.clock.advance(2)
    assert idle.close_code() == 4401
    wait_until(lambda: active.station()["session"]["ends_in_s"] == IDLE_S - 2)


def test_pictures_are_not_compressed_a_second_time(served):
    """A JPEG does not get smaller: the server declines a browser's offer to deflate messages."""
    connection = served.view(compression="deflate").connection
    assert "permessage-deflate" in connection.request.headers["Sec-WebSocket-Extensions"]
    assert "Sec-WebSocket-Extensions" not in connection.response.headers


def test_a_station_that_goes_tells_its_viewers(served):
    """Going away (1001) means: come back."""
    viewer = served.view()
    viewer.station()
    served.hub.close()
    assert viewer.close_code() == 1001


@pytest.mark.slow
def test_a_client_that_asks_and_never_reads_is_dropped(served, monkeypatch):
    """Who acknowledges what it does not read cannot make the server hold pictures for it."""
    monkeypatch.setattr("appliance.web.live.hub.SEND_TIMEOUT_S", 0.5)
    viewer = served.watch("gate", max_queue=1, close_timeout=0.1)  # its socket is read no further
    sequence = 0

    def is_dropped():
        nonlocal sequence
        sequence += 1
        served.hub.publish(picture_of("gate", sequence, b"x" * 1_000_000))
        with contextlib.suppress(ConnectionClosed):
            viewer.say(ack="gate")
        return served.hub.count() == 0

    wait_until(is_dropped, timeout_s=20)
    assert served.watched("gate") == 0
