"""Health, readiness and metrics over HTTP."""

import httpx2


async def test_health_names_every_part(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/health")

    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert {"database": "up", "migrations": "up", "cache": "up"}.items() <= answer.json()["parts"].items()
