"""The owner of endpoints, over the real API."""

from dataclasses import dataclass
from typing import Any

import httpx2

from tests.factories import Person
from tests.waiting import until

WEBHOOKS = "/api/v1/webhooks"


@dataclass(frozen=True)
class Owner:
    """A person with a client of the server."""

    client: httpx2.AsyncClient
    person: Person

    async def ask(self, method: str, path: str = "", body: object = None, **headers: str) -> httpx2.Response:
        """Ask for something under /webhooks as this person."""
        sent = {**self.person.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.client.request(method, WEBHOOKS + path, json=body, headers=sent)

    async def create(self, url: str, *event_types: str, **fields: object) -> dict[str, Any]:
        """An endpoint that gets these types of events, by default all; with its secret."""
        answer = await self.ask("POST", "", {"url": url, "event_types": list(event_types) or ["*"], **fields})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def read(self, path: str | int = "") -> dict[str, Any]:
        """The answer of a GET that succeeds."""
        answer = await self.ask("GET", f"/{path}" if path else "")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def deliveries(self, webhook_id: int, query: str = "") -> list[dict[str, Any]]:
        """An endpoint's deliveries, newest first."""
        found: list[dict[str, Any]] = (await self.read(f"{webhook_id}/deliveries{query}"))["deliveries"]
        return found

    async def until_delivery(self, webhook_id: int, **values: object) -> dict[str, Any]:
        """The newest delivery of an endpoint, once its fields have these values; with all that there is of it."""

        async def reached() -> dict[str, Any] | None:
            rows = await self.deliveries(webhook_id, "?limit=1")
            return rows[0] if rows and values.items() <= rows[0].items() else None

        newest: dict[str, Any] | None = await until(reached)
        assert newest is not None
        return await self.read(f"{webhook_id}/deliveries/{newest['id']}")
