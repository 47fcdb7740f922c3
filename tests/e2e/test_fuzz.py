"""Any request at all to the running station, by a person of each role: never an error, no hang."""

import json
import re
from urllib.parse import quote

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from appliance.web.tab import every_rule
from tests.support.process import PLAIN, TOKEN, seeing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EXAMPLES = 300
PATIENCE_S = 20
API = "/ui/gradio_api"
PATHS = [
    "/",
    "/login",
    "/player",
    "/metrics",
    "/ca.crt",
    "/api/health",
    "/api/ready",
    "/api/system/support-bundle",
    "/api/inspect",
    "/api/override",
    "/api/inspect/cameras/gate",
    "/api/inspect/cameras/x",
    "/api/cameras/gate/snapshot",
    "/api/cameras/x/stream",
    "/api/system/reports/bright-spots",
    "/static/player.js",
    "/static/public/tokens.css",
    "/ui/",
    "/ui/de",
    "/ui/config",
    "/ui/theme.css",
    "/ui/assets/index.js",
    "/ui/static/x",
    "/ui/svelte/x",
    f"{API}/heartbeat/x",
    f"{API}/queue/join",
    f"{API}/queue/data",
    f"{API}/upload",
    f"{API}/file=x",
]
"""One for each rule, and some without; /logout is left out, since it would end the caller."""

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=12,
)
event = st.fixed_dictionaries(
    {},
    optional={
        "data": st.one_of(st.lists(anything, max_size=6), anything),
        "fn_index": st.one_of(st.integers(-2, 40), anything),
        "session_hash": st.one_of(st.text(max_size=20), anything),
        "event_data": anything,
        "trigger_id": st.one_of(st.integers(0, 60), anything),
        "event_id": anything,
        "simple_format": anything,
        "batched": anything,
        "request": anything,
    },
)
bodies = st.one_of(
    st.just(b""),
    st.binary(max_size=200),
    event.map(lambda value: json.dumps(value).encode()),
    anything.map(lambda value: json.dumps(value).encode()),
    st.just(b"[" * 50_000),
    st.just(b'{"a":' * 20_000),
    st.text(max_size=60).map(lambda text: f"user={text}&password={text}".encode()),
    st.binary(max_size=80).map(
        lambda data: b'--x\r\ncontent-disposition: form-data; name="user"\r\n\r\n' + data + b"--x--"
    ),
)
kinds = st.sampled_from(
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "text/plain; charset=nothing",
        "image/jpeg",
        "",
    ]
)
queries = st.one_of(
    st.just(""),
    st.text(max_size=30),
    st.builds("session_hash={}".format, st.text(max_size=12)),
    st.sampled_from(["__theme=dark", "view=x", "session_hash=a&session_hash=b", "left", "%ff=%00"]),
)
extra = st.dictionaries(
    st.sampled_from(["accept", "accept-encoding", "range", "if-none-match", "if-modified-since"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
    max_size=2,
)
requests = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "GET", "POST", "POST", "HEAD", "DELETE", "PUT"]),
        "path": st.sampled_from(PATHS),
        "query": queries,
        "body": bodies,
        "kind": kinds,
        "extra": extra,
    }
)


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    with seeing(tmp_path_factory.mktemp("station")) as process:
        yield process


@pytest.fixture(scope="module")
def callers(station):
    """How an admin, a viewer and a machine are known; signed in before the fuzz tries passwords."""
    people = {name: {"cookie": station.sign_in(name)} for name in ("ada", "vera")}
    return {**people, "token": {"authorization": f"Bearer {TOKEN}"}}


@pytest.fixture(params=["ada", "vera", "token"])
def client(request, station, callers):
    """Of each of them."""
    headers = {"origin": station.origin, **callers[request.param]}
    with httpx.Client(base_url=station.url, headers=headers, timeout=PATIENCE_S, **PLAIN) as client:
        yield client


def status_of(client, given):
    """The status of one request; what streams for ever is left after its head."""
    headers = {"content-type": given["kind"], **given["extra"]}
    query = quote(given["query"], safe="=&%").encode()
    url = httpx.URL(client.base_url).copy_with(path=given["path"], query=query)
    body = given["body"] if given["method"] == "POST" else b""
    with client.stream(given["method"], url, headers=headers, content=body) as answer:
        if "event-stream" not in answer.headers.get("content-type", ""):
            answer.read()
        return answer.status_code


def fuzz(client, examples):
    """Many requests; the statuses that came."""
    seen = []

    @settings(
        max_examples=examples,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(given=requests)
    def one(given):
        status = status_of(client, given)
        seen.append(status)
        # 503 is what the station says of itself, as when too many sign in.
        assert status < 500 or status == 503

    one()
    return seen


def test_the_fuzz_knows_every_rule():
    """A route that is added must be fuzzed as well."""
    missed = [
        rule.pattern.pattern
        for rule in every_rule()
        if "WEBSOCKET" not in rule.methods
        and rule.pattern.pattern != "/logout"
        and not any(re.fullmatch(rule.pattern, path) for path in PATHS)
    ]
    assert missed == []


joins = st.fixed_dictionaries(
    {
        "fn_index": st.integers(-1, 40),
        "session_hash": st.sampled_from(["1", "2", "3"]),
        "data": st.one_of(st.lists(anything, max_size=6), anything),
    },
    optional={"event_data": anything, "trigger_id": st.integers(0, 60), "batched": anything},
)
LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ +\S")


def trouble_the_queue(client, name):
    """Every function without data and with wrong data, pages that nobody opened, and at random."""

    def join(body):
        body["session_hash"] = f"{name}{body['session_hash']}"  # a page belongs to one person
        content, kind = json.dumps(body).encode(), {"content-type": "application/json"}
        answer = client.post(f"{API}/queue/join", content=content, headers=kind)
        assert answer.status_code < 500

    for index in range(40):
        for data in ([], ["x"] * 9, {}, None):
            join({"fn_index": index, "session_hash": "1", "data": data})
    for page in (f"{name}1", f"{name}2", "unknown", "%00", "x" * 200):
        for path in (f"{API}/queue/data?session_hash={page}", f"{API}/heartbeat/{page}"):
            with client.stream("GET", path) as answer:  # and gone before anything comes
                assert answer.status_code < 500

    @settings(max_examples=100, database=None, suppress_health_check=list(HealthCheck))
    @given(body=joins)
    def at_random(body):
        join(body)

    at_random()


def lines_of_troubled_queue(station):
    """What the log says meanwhile."""
    before = len(station.log.read_text())
    for name in ("ada", "vera"):
        headers = {"origin": station.origin, "cookie": station.sign_in(name)}
        line = {"base_url": station.url, "headers": headers, "timeout": PATIENCE_S, **PLAIN}
        with httpx.Client(**line) as client:
            trouble_the_queue(client, name)
            station.wait_until(lambda: "page: a call ended with" in station.log.read_text())
            assert client.post("/logout").status_code == 303
    assert station.ready().json()["health"] == "ready"
    lines = station.log.read_text()[before:].splitlines()
    assert len(lines) < 60, lines
    return lines


# Before the others, which try passwords: these sign in.


def test_what_is_sent_to_the_queue_is_told_in_lines_of_the_log(station):
    """No traceback, no text of Gradio's own: few lines, each in the log's form."""
    lines = lines_of_troubled_queue(station)
    assert [line for line in lines if not LINE.match(line)] == []


def test_nothing_that_is_sent_to_the_queue_is_printed_past_the_log(tmp_path, capfd):
    """The same in the log's other form, and nothing of it on standard output."""
    with seeing(tmp_path, APPLIANCE_LOG__FORMAT="json") as station:
        lines = lines_of_troubled_queue(station)
        assert station.stop() == 0
    assert all("exception" not in json.loads(line) for line in lines)
    assert capfd.readouterr().out == ""


def test_no_request_is_an_error_or_hangs(station, client):
    """Each is answered in time, below 500; the station goes on, and its log has no traceback."""
    before = len(station.log.read_text())
    seen = fuzz(client, EXAMPLES)
    assert len(set(seen)) > 2
    assert station.get("/api/health").status_code == 200
    assert station.ready().json()["health"] == "ready"
    _, _, traceback = station.log.read_text()[before:].partition("Traceback")
    assert traceback == "", traceback[:4000]


def test_memory_does_not_grow_with_requests(station, callers):
    """After as many again it is what it was, but for what an allocator keeps."""
    process = psutil.Process(station.child.pid)
    headers = {"origin": station.origin, **callers["ada"]}
    with httpx.Client(base_url=station.url, headers=headers, timeout=PATIENCE_S, **PLAIN) as client:
        fuzz(client, EXAMPLES)
        before = process.memory_info().rss
        fuzz(client, 2 * EXAMPLES)
        assert process.memory_info().rss < 1.15 * before
