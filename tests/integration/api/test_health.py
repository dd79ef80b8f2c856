"""Health, readiness and metrics over HTTP."""

import asyncio

import httpx2
import pytest
from pydantic import SecretStr

from app.bootstrap import Container, Part, Ping
from app.config.settings import Settings
from app.domain.errors import Unavailable
from tests.conftest import MakeSettings


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(metrics_token=SecretStr("a token for the scraper"))


async def down() -> None:
    raise Unavailable


async def silent() -> None:
    await asyncio.Event().wait()


async def test_health_names_every_part(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/health")

    assert answer.status_code == 200
    assert {"database": "up", "migrations": "up", "cache": "up"}.items() <= answer.json()["parts"].items()


@pytest.mark.parametrize("ping", [down, silent])
async def test_a_part_that_is_down_degrades_but_only_a_required_one_stops_traffic(
    client: httpx2.AsyncClient, container: Container, monkeypatch: pytest.MonkeyPatch, ping: Ping
) -> None:
    monkeypatch.setattr("app.api.health.PING_SECONDS", 0.2)
    monkeypatch.setattr(container, "parts", {"extra": Part(ping, is_required=False)})
    health = await client.get("/health")
    assert (health.status_code, health.json()["status"], health.json()["parts"]["extra"]) == (200, "degraded", "down")
    assert (await client.get("/health/ready")).status_code == 200

    monkeypatch.setattr(container, "parts", {"extra": Part(ping, is_required=True)})
    ready = await client.get("/health/ready")
    assert (ready.status_code, ready.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert ready.json()["error"]["details"]["parts"]["extra"] == "down"
    assert ready.headers["retry-after"] == "1"
    assert (await client.get("/health/live")).json() == {"status": "ok"}


async def test_a_stopping_process_asks_for_no_more_traffic(
    client: httpx2.AsyncClient, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "is_draining", True)
    answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()["error"]["details"]["draining"]) == (503, True)


async def test_metrics_are_for_the_scraper_and_name_routes_not_paths(client: httpx2.AsyncClient) -> None:
    await client.get("/health/live")
    await client.delete("/api/v1/auth/sessions/0f0e0d0c-0b0a-0908-0706-050403020100")
    await client.request("BREW", "/api/v1/auth/login")
    headers = {"Authorization": "Bearer a token for the scraper"}

    answer = await client.get("/metrics", headers=headers)

    assert answer.status_code == 200
    assert 'http_requests_total{method="GET",route="/health/live",status="200"}' in answer.text
    assert 'route="/api/v1/auth/sessions/{session_id}",status="401"' in answer.text
    assert "0f0e0d0c" not in answer.text
    assert "BREW" not in answer.text
    for wrong in ({}, {"Authorization": "Bearer another"}, {"Authorization": "a token for the scraper"}):
        assert (await client.get("/metrics", headers=wrong)).status_code == 401
