"""How long the real process takes to refuse a password: nobody learns by it which users exist."""

import random
import time
from itertools import count, product
from statistics import median

import httpx
import pytest
from argon2 import PasswordHasher

from appliance.settings.secrets import normalized
from appliance.web.access.throttle import FREE
from tests.support.process import PASSWORD, PLAIN, started, station_environ

pytestmark = pytest.mark.slow

# How often a try of one kind took longer than one of another: as a coin falls, where nothing tells
# them apart. A rank says this however busy the machine is; a dummy of another cost makes 0.95.
COIN = (0.2, 0.8)
# As our own command makes hashes, and as another tool may.
HASHERS = {
    "ours": PasswordHasher(),
    "elsewhere": PasswordHasher(memory_cost=8192, time_cost=1, parallelism=1),
}


def share_of_longer(some_s, others_s):
    """Of all pairs of both, those in which the first took longer."""
    pairs = list(product(some_s, others_s))
    return sum(one > other for one, other in pairs) / len(pairs)


def refused_after_s(station, user, address):
    """Seconds until a wrong password is refused, by a caller of an address of its own."""
    headers = {"Origin": station.origin, "X-Forwarded-For": address}
    began_s = time.monotonic()
    answer = httpx.post(
        f"{station.url}/login",
        data={"user": user, "password": "wrong"},
        headers=headers,
        timeout=30,
        **PLAIN,
    )
    took_s = time.monotonic() - began_s
    assert answer.status_code == 403
    return took_s


@pytest.mark.parametrize("maker", HASHERS)
@pytest.mark.parametrize("users", [6, pytest.param(60, marks=pytest.mark.long)])
def test_a_user_who_exists_takes_as_long_as_one_who_does_not(tmp_path, tell, maker, users):
    """By interleaved tries in one run, at the real process."""
    hashed = normalized(HASHERS[maker].hash(PASSWORD))
    environ = station_environ(
        tmp_path,
        APPLIANCE_AUTH__USERS="\n".join(f"user{n}:viewer:{hashed}" for n in range(users)),
        APPLIANCE_WEB__TRUSTED_PROXIES="127.0.0.1",
    )
    kinds = {"existing": "user{}", "unknown": "nobody{}", "impossible": "no body: {}" + "x" * 200}
    took_s, addresses, order = {kind: [] for kind in kinds}, count(), random.Random(7)  # noqa: S311
    with started(environ, tmp_path / "log") as station:
        station.wait_until(lambda: station.get("/api/health").status_code == 200)
        station.wait_until_page()
        for _ in range(FREE):  # more at one user must wait
            for n in range(users):
                for kind in order.sample(list(kinds), len(kinds)):
                    at = next(addresses)
                    address = f"10.0.{at // 250}.{at % 250}"
                    took_s[kind].append(refused_after_s(station, kinds[kind].format(n), address))
    told = ", ".join(f"{kind} {median(values) * 1000:.1f} ms" for kind, values in took_s.items())
    shares = [share_of_longer(took_s["existing"], took_s[kind]) for kind in list(kinds)[1:]]
    tell(f"{FREE * users} tries of each kind, hashes made {maker}: {told}; {shares}")
    assert all(COIN[0] < share < COIN[1] for share in shares)
