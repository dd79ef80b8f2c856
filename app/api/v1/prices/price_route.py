"""The route of a single price, the most asked of all: plain requests are answered without FastAPI's machinery."""

from fastapi import Request
from starlette.types import Receive, Scope, Send

from app.api.dependencies import rate_limit
from app.api.routing import MarqetRoute
from app.bootstrap import Container

price_limit = rate_limit("price")


class PriceRoute(MarqetRoute):
    """Answers at once what is asked plainly: no login, no query, a pair that was found before and has a price.

    Everything else goes the declared way, and so do all errors: there is one place that decides each.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the ready bytes where that will do."""
        container: Container = scope["app"].state.container
        body = _plain_answer(scope, container)
        if body is None:
            await super().handle(scope, receive, send)
            return
        await price_limit.dependency(Request(scope), container, None)
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _plain_answer(scope: Scope, container: Container) -> bytes | None:
    if scope["method"] != "GET" or scope["query_string"]:
        return None
    for name, value in scope["headers"]:
        if name == b"authorization" or (name == b"accept" and b"numbers" in value):
            return None
    pair = container.ready_prices.remembered(scope["path_params"]["pair"])
    return None if pair is None else container.ready_prices.body(pair)
