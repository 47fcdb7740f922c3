"""The page that stands in for the station while its settings are wrong, without a process."""

import asyncio

import httpx
import pytest

from appliance.texts import Languages
from appliance.web.problem import problem_application

PROBLEM_PAGE = problem_application([], Languages(), base="/cam", version="0.0")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("called", ["", "http://station:8080"])
def test_the_page_of_problems_answers_health_checks(method, called):
    """The process lives, whatever it is called and by which form of a request line."""
    raw_path = f"{called}/cam/api/health".encode()

    async def ask():
        transport = httpx.ASGITransport(_with_target(raw_path))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.request(method, "/")

    assert asyncio.run(ask()).status_code == 200


def _with_target(raw_path):
    """The application, asked for this target of a request line, which clients would change."""

    async def ask(scope, receive, send):
        target = {"path": raw_path.decode(), "raw_path": raw_path}
        await PROBLEM_PAGE({**scope, **target}, receive, send)

    return ask
