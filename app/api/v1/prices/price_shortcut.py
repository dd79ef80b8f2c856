"""The shortcut for a single price, the most asked of all: a plain request needs none of the machinery."""

from starlette.types import Scope

from app.api.dependencies import address_key, verdict_on
from app.api.middleware import HostNames, Ready
from app.bootstrap import Container

PATH = "/api/v1/prices/"
# Headers that change the answer, or who may read it.
TELLING = frozenset({b"authorization", b"origin", b"transfer-encoding"})


class PriceShortcut:
    """Answers what is asked plainly: no login, no query, no body, a pair that was found before and has a price.

    Everything else goes the declared way, and so do all refusals: one place decides each.
    """

    def __init__(self, hosts: HostNames) -> None:
        self._hosts = hosts

    async def __call__(self, scope: Scope) -> Ready | None:
        """The ready answer, counted against the caller's limit, or None."""
        path: str = scope["path"]
        if not path.startswith(PATH) or scope["method"] != "GET" or scope["query_string"]:
            return None
        container: Container = scope["app"].state.container
        pair = container.ready_prices.remembered(path.removeprefix(PATH))
        if pair is None or not self._is_plain(scope):
            return None
        body = container.ready_prices.body(pair)
        if body is None:
            return None
        address, _ = scope["client"] or ("", 0)
        verdict = await verdict_on(container, "price", address_key(address))
        if verdict is not None:
            if not verdict.is_allowed:
                return None
            scope["state"]["headers"].update(verdict.headers())
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json"), (b"vary", b"Origin")]
        return Ready(PATH + "{pair}", headers, body)

    def _is_plain(self, scope: Scope) -> bool:
        for name, value in scope["headers"]:
            if name in TELLING:
                return False
            if name == b"host" and not self._hosts.include(value.decode("latin-1")):
                return False
            if name == b"accept" and b"numbers" in value:
                return False
            if name == b"content-length" and value != b"0":
                return False
        return True
