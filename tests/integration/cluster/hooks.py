"""Webhook endpoints of a cluster's users: some are slow, some fail now and then, some break off half-way."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from tests.integration.cluster.crowd import Trader
from tests.integration.webhooks.receiver import Answer, Received, Receiver, break_off, status
from tests.waiting import back_off

# Of so many events one is not taken at its first delivery, where an endpoint is one that fails.
EACH = 4


async def slowly(_: web.Request) -> web.StreamResponse:
    """Answer after a while."""
    await back_off()
    return web.Response(text="taken")


def at_first(refuse: Answer) -> Answer:
    """Take everything, but of some events the first delivery is refused."""
    seen: set[str] = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        event_id = request.headers["webhook-id"]
        is_first = event_id not in seen
        seen.add(event_id)
        if is_first and int(event_id.partition("_")[2]) % EACH == 0:
            return await refuse(request)
        return web.Response(text="taken")

    return answer


KINDS: tuple[Callable[[], Answer], ...] = (
    lambda: status(200),
    lambda: slowly,
    lambda: at_first(status(500, "not now")),
    lambda: at_first(break_off),
)


@dataclass(repr=False)
class Hook:
    """One endpoint of a trader, of the kind that its number says."""

    number: int
    trader: Trader
    receiver: Receiver
    secret: str = ""

    @property
    def path(self) -> str:
        return f"/hook/{self.number}"

    @property
    def received(self) -> list[Received]:
        return self.receiver.at(self.path)

    async def create(self) -> None:
        """Ask for the endpoint."""
        self.receiver.answers[self.path] = KINDS[self.number % len(KINDS)]()
        self.secret = f"the-secret-of-hook-{self.number:04}"
        body = {"url": self.receiver.url(self.path), "event_types": ["*"], "secret": self.secret}
        answer = await self.trader.ask("POST", "/api/v1/webhooks", body)
        assert answer.is_success, answer.text
