"""Two hundred sign-ins a second: nobody gets in, and nothing else waits for them."""

import asyncio
import statistics
import time

import httpx
import pytest

from tests.support.process import seeing

pytestmark = pytest.mark.slow

RATE_HZ = 200
SECONDS = 3
PROBE_S = 0.02


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    with seeing(
        tmp_path_factory.mktemp("station"),
        APPLIANCE_WEB__TRUSTED_PROXIES="127.0.0.1",
    ) as process:
        yield process


async def sign_in(client, url, user, address):
    headers = {"origin": url, "x-forwarded-for": address}
    data = {"user": user, "password": "wrong"}
    return (await client.post(f"{url}/login", data=data, headers=headers)).status_code


async def flood(url, caller):
    """Sign-ins at a steady rate by `caller(n)`, user and address; how many had which status."""
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:
        tasks, began_s = [], time.monotonic()
        for n in range(RATE_HZ * SECONDS):
            tasks.append(asyncio.create_task(sign_in(client, url, *caller(n))))
            await asyncio.sleep(max(0.0, began_s + n / RATE_HZ - time.monotonic()))
        statuses = await asyncio.gather(*tasks)
    return {status: statuses.count(status) for status in set(statuses)}


async def probing(url, work):
    """How long health took to answer while `work` went on, and what that gave."""
    took_s, done = [], asyncio.create_task(work)
    async with httpx.AsyncClient(timeout=30) as client:
        while not done.done():
            began_s = time.monotonic()
            answer = await client.get(f"{url}/api/health")
            took_s.append(time.monotonic() - began_s)
            assert answer.status_code == 200
            await asyncio.sleep(PROBE_S)
    return took_s, await done


async def one_password(url, crowd):
    """Seconds that a wrong password takes while nothing else goes on."""
    took_s = []
    async with httpx.AsyncClient(timeout=30) as client:
        for n in range(5):
            began_s = time.monotonic()
            assert await sign_in(client, url, f"{crowd} {n}", f"192.0.2.{n}") == 403
            took_s.append(time.monotonic() - began_s)
    return statistics.median(took_s)


CROWDS = {
    "one address": lambda _: ("ada", "10.0.0.1"),
    "an address for each": lambda n: (f"user{n}", f"10.1.{n // 250}.{n % 250}"),
}


@pytest.mark.parametrize("crowd", CROWDS)
def test_health_does_not_wait_for_passwords(station, crowd):
    """19 of 20 answers come sooner than two passwords take to check on an idle station."""
    alone_s = asyncio.run(one_password(station.url, crowd))
    took_s, statuses = asyncio.run(probing(station.url, flood(station.url, CROWDS[crowd])))
    assert len(took_s) > 20
    assert statistics.quantiles(took_s, n=20)[-1] < 2 * alone_s
    assert set(statuses) <= {403, 429, 503}
    assert statuses[403] < RATE_HZ * SECONDS / 4


def test_a_right_password_gets_in_soon_after(station):
    """The crowd has gone; whoever is told to wait gets in when that time is over."""

    def entered():
        answer = httpx.post(
            f"{station.url}/login",
            data={"user": "vera", "password": "password-of-the-tests"},
            headers={"origin": station.url, "x-forwarded-for": "192.0.2.200"},
            timeout=30,
        )
        assert answer.status_code in {303, 429, 503}
        return answer.status_code == 303

    station.wait_until(entered)
