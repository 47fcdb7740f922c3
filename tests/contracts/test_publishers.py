"""Every publisher, and the fake beside them, keeps the contract of `appliance.publish`."""

import threading
import time

import numpy as np
import pytest

from appliance import publish
from appliance.app.publishing import Publications, section_of
from appliance.pipeline.sinks import FanOut
from appliance.publish import Outlook, Publisher
from appliance.publish.metrics import Metrics
from appliance.settings import Settings, Web
from tests.support import publishers as fake
from tests.support.fakes import counted_lease, result_of
from tests.support.metrics import reading

FOUND = publish.known()
EVERY = pytest.mark.parametrize(
    "publisher", [*FOUND.values(), fake.PUBLISHER], ids=lambda one: one.name
)
OUTLOOK = Outlook(reading, "1.2.3")
MOST_S = 0.001  # of one call; the loop does nothing else meanwhile
STOP_S = 1.0
KEPT = fake.Kept(room=2)


def settings(folder):
    """Of a station for which nobody has set anything."""
    return Settings(paths={name: folder / name for name in ("state", "cache", "temporary")})


def result(camera="door"):
    lease, _ = counted_lease(np.zeros((24, 32, 3), np.uint8))
    return result_of(camera, lease)


@pytest.fixture
def make():
    """Makes publications with the defaults of their section, and ends them."""
    made = []

    def one(publisher: Publisher):
        section = None if publisher.section is None else publisher.section()
        made.append(publisher.make(section, OUTLOOK))
        return made[-1]

    yield one
    for each in made:
        each.stop()


def test_a_publisher_is_named_as_its_file():
    """The word in metrics and in the log is the module's name."""
    assert FOUND
    assert {name: publisher.name for name, publisher in FOUND.items()} == {n: n for n in FOUND}


@pytest.mark.parametrize("publisher", FOUND.values(), ids=lambda one: one.name)
def test_its_section_is_one_of_the_settings(publisher, tmp_path):
    """So that its variables are known, documented, and hidden where they are secrets."""
    found = section_of(settings(tmp_path), publisher.section)
    assert publisher.section is None or type(found) is publisher.section


@EVERY
def test_it_works_without_a_setting(publisher, make):
    """Each setting of its section has a default: a station that sets none starts."""
    one = make(publisher)
    one.start()
    one.publish(result())
    assert one.trouble() == ""


@EVERY
def test_results_may_come_at_any_time(publisher, make):
    """Before its start and after its end: the loop asks nobody whether it may go on."""
    one = make(publisher)
    one.publish(result())
    one.start()
    one.stop()
    one.publish(result())
    assert one.trouble() == ""


@EVERY
def test_it_ends_soon_and_may_be_ended_twice(publisher, make):
    """Also where it never began, as when another part kept the station from starting."""
    one = make(publisher)
    one.stop()
    other = make(publisher)
    other.start()
    other.publish(result())
    began_s = time.monotonic()
    other.stop()
    other.stop()
    assert time.monotonic() - began_s < STOP_S


@EVERY
def test_it_leaves_no_thread(publisher, make):
    """What it began has ended with it."""
    before = set(threading.enumerate())
    one = make(publisher)
    one.start()
    one.publish(result())
    one.stop()
    assert set(threading.enumerate()) <= before


@EVERY
def test_it_never_holds_the_loop_up(publisher, make):
    """A thousand results of many cameras, with nobody at the other end."""
    one = make(publisher)
    one.start()
    results = [result(f"camera_{index % 20}") for index in range(1000)]
    began_s = time.process_time()
    for each in results:
        one.publish(each)
    assert time.process_time() - began_s < MOST_S * len(results)


def test_the_station_makes_every_publisher_that_is_there(tmp_path, monkeypatch):
    """A new file is enough: it gets its settings, every result, and its trouble is told."""
    with_section = type("Tree", (Settings,), {"__annotations__": {"kept": fake.Kept}, "kept": KEPT})
    tree = with_section(paths=settings(tmp_path).paths)
    found = {**FOUND, "publishers": fake.PUBLISHER}
    monkeypatch.setattr(publish, "known", lambda: found)
    publications = Publications(tree, OUTLOOK)
    keeper = publications.the(fake.Keeper)
    publications.start()
    assert keeper.is_at_work
    for sink in publications.sinks():
        for _ in range(3):
            sink.call(result())
    assert len(keeper.results) == KEPT.room
    keeper.refusal = "The broker is away"
    assert publications.troubles() == {"metrics": "", "publishers": "The broker is away"}
    assert publications.the(Metrics).render()
    publications.stop()
    assert not keeper.is_at_work


class Broken:
    """A publication that fails in all that it is asked."""

    def __init__(self, _section, _outlook):
        pass

    def fail(self, *_):
        raise RuntimeError("a plug-in's own fault")

    start = publish = stop = trouble = fail


def test_a_publisher_that_fails_harms_neither_another_nor_the_station(tmp_path, monkeypatch):
    """In whatever it is asked: the station starts, says so, feeds its watchdog and ends."""
    found = {"broken": Publisher("broken", None, Broken), **FOUND}
    monkeypatch.setattr(publish, "known", lambda: found)
    publications = Publications(settings(tmp_path), OUTLOOK)
    publications.start()
    assert publications.troubles() == {
        "broken": "it cannot tell how it is (RuntimeError)",
        "metrics": "",
    }
    publications.stop()
    fan_out = FanOut(publications.sinks(), clock_ns=time.monotonic_ns)
    lease, held = counted_lease(np.zeros((4, 4, 3), np.uint8))
    with lease:
        fan_out.offer(result(), lease)
    assert held() == 0
    assert b"appliance_result_age_seconds_count" in publications.the(Metrics).render()


def test_a_publisher_gets_its_own_section_and_no_other(tmp_path):
    """One that needs no settings, such as metrics, gets none."""
    tree = settings(tmp_path)
    assert section_of(tree, None) is None
    assert section_of(tree, Web) is tree.web
