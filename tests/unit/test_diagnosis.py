"""What a camera is asked when it did not open: no password before, or in another form."""

import base64
import contextlib
import hashlib
import itertools
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote
from urllib.request import parse_http_list, parse_keqv_list

import pytest

from appliance.capture.contract import CameraSpec
from appliance.capture.sources import stream
from appliance.errors import SourceError
from tests.support import hostile_cameras, refusing
from tests.support.cameras import RtspServer, why_no_rtsp

USER, PASSWORD = "viewer", "S3cr3tPass"
SOUND = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\n"
VIDEO = SOUND.replace(b"audio 0 RTP/AVP 0", b"video 0 RTP/AVP 127")
HASHES = {"MD5": hashlib.md5, "MD5-sess": hashlib.md5, "SHA-256": hashlib.sha256}


@dataclass
class Station:
    """A server on loopback that answers each request, and keeps what it was sent."""

    port: int
    requests: list[str] = field(default_factory=list)

    def sent(self, what: str) -> bool:
        return any(what in request for request in self.requests)


@contextlib.contextmanager
def answering(reply: Callable[[str], bytes], host: str = "127.0.0.1") -> Iterator[Station]:
    """Each connection stays open for as many requests as come."""
    server = socket.create_server((host, 0))
    station = Station(server.getsockname()[1])

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # the client may leave when it likes
            connection.settimeout(5)
            while request := connection.recv(8192).decode():
                station.requests.append(request)
                connection.sendall(reply(request))
                if not request.partition("\r\n")[0].endswith("RTSP/1.0"):
                    return

    def accept() -> None:
        with contextlib.suppress(OSError):  # it is shut down by the end of the block
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield station
    finally:
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        server.close()


def rtsp(status: str, *lines: str, body: bytes = b"") -> Callable[[str], bytes]:
    """An RTSP answer with the number of its request."""

    def reply(request: str) -> bytes:
        sequence = re.search(r"CSeq: (\d+)", request)
        head = [f"RTSP/1.0 {status}", f"CSeq: {sequence[1] if sequence else 0}", *lines]
        head += [f"Content-Length: {len(body)}", "", ""]
        return "\r\n".join(head).encode() + body

    return reply


def http(status: str, *lines: str, body: bytes = b"") -> Callable[[str], bytes]:
    head = [f"HTTP/1.1 {status}", *lines, "Connection: close", "", ""]
    return lambda _request: "\r\n".join(head).encode() + body


def proven(request: str, algorithm: str, qop: str) -> bool:
    """Whether a request carries the right digest, by the RFC's own formula."""
    match = re.search(r"Authorization: Digest (.*)\r\n", request)
    if match is None:
        return False
    told = parse_keqv_list(parse_http_list(match[1]))
    method, uri = request.split()[:2]

    def hashed(text: str) -> str:
        return HASHES[algorithm](text.encode()).hexdigest()

    secret = hashed(f"{USER}:{told['realm']}:{PASSWORD}")
    if algorithm == "MD5-sess":
        secret = hashed(f"{secret}:00ff:{told['cnonce']}")
    middle = f"{told['nc']}:{told['cnonce']}:{told['qop']}:" if qop else ""
    proof = hashed(f"{secret}:00ff:{middle}{hashed(f'{method}:{uri}')}")
    is_ours = told["realm"] in {"a camera", "Süd"} and told.get("opaque") == "x"
    return told["response"] == proof and is_ours


def asking(form: str, then: Callable[[str], bytes], refuse: Callable[..., Callable[[str], bytes]]):
    """A camera that asks for a password in this form, and then answers."""
    algorithm = re.search(r"algorithm=([\w-]+)", form)
    qop = "auth" if "qop" in form else ""
    basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    def reply(request: str) -> bytes:
        right = (
            proven(request, algorithm[1] if algorithm else "MD5", qop)
            if form.startswith("Digest")
            else f"Authorization: Basic {basic}" in request
        )
        return (then if right else refuse("401 No", f"WWW-Authenticate: {form}"))(request)

    return reply


def told_of(url: str, **changes: object) -> SourceError:
    options = {"username": USER, "password": PASSWORD, "open_timeout_s": 2, **changes}
    with pytest.raises(SourceError) as caught:
        stream.SOURCE.open(CameraSpec(key="dock", name="", url=url, read_timeout_s=2, **options))
    return caught.value


DRIPS = {
    "rtsp": [],
    "http": [b"HTTP/1.1 200 OK\r\nX: "],
    "https": [b"\x16\x03\x03\x40\x00"],  # a part of TLS of 16 kB
}
DIGEST = 'Digest realm="a camera", nonce="00ff", opaque="x"'
FORMS = {
    "digest": DIGEST,
    "digest of a hall with an umlaut": DIGEST.replace("a camera", "Süd"),
    "digest with qop": f'{DIGEST}, qop="auth,auth-int"',
    "digest by session": f'{DIGEST}, qop="auth", algorithm=MD5-sess',
    "digest by sha": f'{DIGEST}, qop="auth", algorithm=SHA-256',
    "basic": 'Basic realm="a camera"',
}
ANSWERS = {
    "404": (rtsp("404 Not Found"), "The camera has no stream at this path (404)"),
    "403": (rtsp("403 No"), "The camera does not give this stream to this user (403)"),
    "503": (rtsp("503 Busy"), "The camera answers with error 503"),
    "sound": (
        rtsp("200 OK", "Content-Type: application/sdp", body=SOUND),
        "The camera sends sound and no video",
    ),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("form", FORMS)
def test_behind_a_password_each_error_of_an_rtsp_camera_is_its_own(form, answer):
    """In whatever form it asks, what it says to the right password is told, and nothing else."""
    reply, sentence = ANSWERS[answer]
    if (form, answer) == ("digest by sha", "sound"):
        sentence = "The camera wants the password by SHA-256, which the decoder does not know"
    with answering(asking(FORMS[form], reply, rtsp)) as camera:
        error = told_of(f"rtsp://127.0.0.1:{camera.port}/cam")
    assert str(error) == sentence
    assert error.hint
    assert camera.sent("Authorization: Basic") == (form == "basic")


@pytest.mark.parametrize("form", FORMS)
def test_behind_a_password_each_error_of_a_web_camera_is_its_own(form):
    """The same by HTTP."""
    with answering(asking(FORMS[form], http("404 No"), http)) as camera:
        error = told_of(f"http://127.0.0.1:{camera.port}/cam")
    assert str(error) == "The camera has no stream at this path (404)"
    assert camera.sent("Authorization: Basic") == (form == "basic")


@pytest.mark.parametrize(("scheme", "reply"), [("rtsp", rtsp), ("http", http)])
def test_no_password_leaves_before_it_is_asked_for(scheme, reply):
    """Neither FFmpeg nor the diagnosis shows it to a camera that only has no such path."""
    with answering(reply("404 No")) as camera:
        told_of(f"{scheme}://127.0.0.1:{camera.port}/cam")
    assert len(camera.requests) >= 2
    assert not camera.sent("Authorization")


@pytest.mark.parametrize(("scheme", "reply"), [("rtsp", rtsp), ("http", http)])
def test_an_odd_form_of_asking_for_a_password_is_put_into_words(scheme, reply):
    """Whatever a camera's realm is made of: it is the camera that is told of, not a failure."""
    for form in (
        'Digest realm=, nonce="x"',
        'Digest realm="a", nonce="b", algorithm=',
        'Digest realm="a", nonce="b", stale',
        'Digest realm="a", nonce="b", qop="auth-int"',
        'Digest realm="a", nonce="b", qop=""',
        'Digest nonce="b"',
        'Basic realm="Halle Süd"',
    ):
        with answering(reply("401 No", f"WWW-Authenticate: {form}")) as camera:
            error = told_of(f"{scheme}://127.0.0.1:{camera.port}/cam")
        assert str(error) == "The camera refuses the user name or password (401)", form
    with answering(reply("401 No", "WWW-Authenticate: Digest, ,=,")) as camera:
        error = told_of(f"{scheme}://127.0.0.1:{camera.port}/cam")
    assert "in a form that is not known here" in str(error)


@pytest.mark.parametrize("line", ["Content-Length: ü", "Location: ü", "Content-Type: ü"])
def test_letters_that_no_head_may_have_break_nothing(line):
    """An RTSP camera is told of, whatever it writes."""
    with answering(rtsp("404 No", line)) as camera:
        error = told_of(f"rtsp://127.0.0.1:{camera.port}/cam")
    assert str(error) == "The camera has no stream at this path (404)"


@pytest.mark.parametrize(("scheme", "reply"), [("rtsp", rtsp), ("http", http)])
def test_where_a_digest_is_offered_beside_it_basic_is_never_sent(scheme, reply):
    """Also where the digest is one that nobody here can make."""
    for digest in ("MD5", "SHA-512-256"):
        offers = ['WWW-Authenticate: Basic realm="a camera"']
        offers += [f"WWW-Authenticate: {DIGEST}, algorithm={digest}"]
        with answering(reply("401 No", *offers)) as camera:
            error = told_of(f"{scheme}://127.0.0.1:{camera.port}/cam")
        assert not camera.sent("Authorization: Basic")
        known = digest == "MD5"
        assert camera.sent("Authorization: Digest") == known
        assert "(401)" in str(error)
        assert ("refuses the user name or password" in str(error)) == known


@pytest.mark.parametrize(("scheme", "reply"), [("rtsp", rtsp), ("http", http)])
def test_a_missing_password_is_told_from_a_wrong_one_whatever_the_form(scheme, reply):
    """Without one in the settings, with one, and with one in a form that is unknown."""
    for form, username, said in [
        (DIGEST, "", "The camera asks for a password (401)"),
        (DIGEST, "other", "The camera refuses the user name or password (401)"),
        ("Negotiate", USER, "The camera asks for the password in a form that is not known"),
    ]:
        with answering(reply("401 No", f"WWW-Authenticate: {form}")) as camera:
            error = told_of(f"{scheme}://127.0.0.1:{camera.port}/cam", username=username)
        assert str(error).startswith(said)


@pytest.mark.parametrize("scheme", ["rtsp", "http", "https"])
def test_a_camera_that_drips_its_answer_has_a_time_for_all_of_it(scheme):
    """A byte now and then is as good as silence."""
    closing = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=say, args=(connection,), daemon=True).start()

    def say(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            for byte in itertools.chain(DRIPS[scheme], itertools.repeat(b"x")):
                connection.sendall(byte)
                if closing.wait(0.1):
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    began_s = time.monotonic()
    url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/x"
    error = told_of(url, open_timeout_s=0.5)
    took_s = time.monotonic() - began_s
    closing.set()
    server.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    server.close()
    assert "says nothing" in str(error)
    assert took_s < 5


@pytest.mark.slow
def test_a_real_rtsp_camera_that_takes_only_digests_is_read():
    """GStreamer's server checks it; the wrong password and the wrong path are told apart."""
    if reason := why_no_rtsp():
        pytest.skip(f"no RTSP server: {reason}")
    with RtspServer(password=PASSWORD, form="digest") as server:
        spec = CameraSpec(
            key="dock", name="", url=server.url, username="operator", password=PASSWORD
        )
        capture = stream.SOURCE.open(spec)
        assert capture.grab() is not None
        capture.close()
        wrong = told_of(server.url, username="operator", password="wrong")
        lost = told_of(server.url.replace("cam", "yard"), username="operator")
    assert str(wrong) == "The camera refuses the user name or password (401)"
    assert str(lost) == "The camera has no stream at this path (404)"


def leading(scheme: str, location: str, method: str = "") -> Callable[[str], bytes]:
    """A camera that leads elsewhere: at each request, or at one method's."""
    reply = rtsp if scheme == "rtsp" else http
    away = reply("302 Found", f"Location: {location}")
    stay = reply("200 OK", "Public: OPTIONS, DESCRIBE", body=b"")
    return lambda request: (away if request.startswith(method) else stay)(request)


@pytest.mark.parametrize(
    ("scheme", "method"), [("rtsp", "OPTIONS"), ("rtsp", "DESCRIBE"), ("http", "GET")]
)
def test_a_camera_that_leads_to_another_host_is_not_followed(scheme, method):
    """Nobody calls there, neither FFmpeg nor the diagnosis, and the address is told."""
    with answering(rtsp("404 No"), "127.0.0.2") as other:
        location = f"{scheme}://127.0.0.2:{other.port}/internal"
        with answering(leading(scheme, location, method)) as camera:
            error = told_of(f"{scheme}://127.0.0.1:{camera.port}/cam")
    assert other.requests == []
    assert str(error) == f"The camera leads to another address (127.0.0.2:{other.port})"
    assert "APPLIANCE_CAMERAS__DOCK__URL" in error.hint


def test_a_camera_that_leads_elsewhere_when_the_stream_is_set_up_is_not_followed():
    """The last moments at which it can: SETUP and PLAY."""
    sdp = rtsp("200 OK", "Content-Type: application/sdp", body=VIDEO.replace(b"127", b"26"))
    for method in ("SETUP", "PLAY"):
        with answering(rtsp("404 No"), "127.0.0.2") as other:
            away = leading("rtsp", f"rtsp://127.0.0.2:{other.port}/x")
            transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
            stay = rtsp("200 OK", "Session: 1", transport)

            def reply(request: str, method=method, away=away, stay=stay) -> bytes:
                if request.startswith("DESCRIBE"):
                    return sdp(request)
                return (away if request.startswith(method) else stay)(request)

            with answering(reply) as camera:
                error = told_of(f"rtsp://127.0.0.1:{camera.port}/cam", open_timeout_s=1)
            assert any(request.startswith(method) for request in camera.requests)
        assert other.requests == []
        assert str(error)


@pytest.mark.parametrize("location", ["/%d.jpg", "/%d#.jpg", "/x?%d.jpg"])
def test_a_camera_cannot_lead_elsewhere_by_the_pattern_of_many_pictures(location):
    """FFmpeg would try each name, follow it to any host, and wait without an end."""
    with answering(rtsp("404 No"), "127.0.0.2") as other:

        def reply(request: str) -> bytes:
            there = f"http://127.0.0.2:{other.port}/internal"
            return http("302 Found", f"Location: {location if '/cam' in request else there}")(
                request
            )

        with answering(reply) as camera:
            error = told_of(f"http://127.0.0.1:{camera.port}/cam")
    assert other.requests == []
    assert str(error) == f"The camera leads to another address (127.0.0.2:{other.port})"


@pytest.mark.parametrize("path", ["/s?f=y.jpg", "/a%20dir/y.jpg", "/a%2dy.jpg", "/y.jpg?a=1.5"])
def test_a_stream_at_the_address_of_a_picture_is_one_stream(path):
    """FFmpeg takes such an address for the pattern of many names; the camera is asked for it."""
    asked = []

    def stream_of(request: str) -> bytes:
        asked.append(unquote(request.split()[1]))
        return refusing.head("HTTP/1.1 200 OK", refusing.MULTIPART) + hostile_cameras.GOOD * 5

    with answering(stream_of) as camera:
        url = f"http://127.0.0.1:{camera.port}{path}"
        spec = CameraSpec(key="dock", name="", url=url, open_timeout_s=2, read_timeout_s=2)
        capture = stream.SOURCE.open(spec)
        capture.grab()
        assert capture.retrieve(None).shape == (240, 320, 3)
        capture.close()
    assert set(asked) == {unquote(path)}


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("content_type", "sentence"),
    [
        (
            "application/vnd.apple.mpegurl",
            "The camera sends a list of addresses, which is not read",
        ),
        ("video/mp2t", "The camera answers, but sends no video that can be read"),
        ("", "The camera answers, but sends no video that can be read"),
    ],
)
def test_a_list_of_addresses_is_no_camera(content_type, sentence):
    """What a playlist names is not called, whatever the camera says that it is."""
    with answering(http("404 No"), "127.0.0.2") as other:
        body = PLAYLIST.format(f"http://127.0.0.2:{other.port}/internal.ts").encode()
        lines = [f"Content-Type: {content_type}"] if content_type else []
        with answering(http("200 OK", *lines, body=body)) as camera:
            error = told_of(f"http://127.0.0.1:{camera.port}/live.m3u8")
    assert other.requests == []
    assert str(error) == sentence
    assert error.hint


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_camera_that_leads_to_another_path_of_its_own_is_followed(scheme):
    """Once more, and not for ever."""
    reply = rtsp if scheme == "rtsp" else http
    url, there = "", "404 No"

    def led(request: str) -> bytes:
        away = reply("302 Found", f"Location: {url}/stream")
        return (reply(there) if there and "/stream" in request else away)(request)

    with answering(led) as camera:
        url = f"{scheme}://127.0.0.1:{camera.port}"
        error = told_of(f"{url}/cam")
        assert str(error) == "The camera has no stream at this path (404)"
        there = ""
        error = told_of(f"{url}/cam")
        assert str(error) == "The camera leads from one address to the next"
    assert camera.sent(f"/stream {'RTSP' if scheme == 'rtsp' else 'HTTP'}")


def test_no_password_follows_a_camera_to_where_it_travels_in_clear():
    """From HTTPS to HTTP, though it is the same host."""
    assert stream._is_at_home("http://cam/a", "https://cam:8443/b")
    assert not stream._is_at_home("https://cam/a", "http://cam/b")
    assert not stream._is_at_home("rtsp://cam/a", "http://cam/b")
    assert not stream._is_at_home("rtsp://cam/a", "rtsp://[cam/b")
