"""Runs an effect once per Idempotency-Key, and answers every repetition of its request alike."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from app.api.errors import render, request_id_of
from app.api.routing import wants_strings
from app.bootstrap import Container
from app.core.faults import buggify
from app.core.json import encode
from app.domain.errors import InvalidRequest, MarqetError
from app.domain.idempotency import RequestKey
from app.repositories.unit_of_work import UnitOfWork
from app.services.idempotency_service import Bound, Stored
from app.services.trading_service import Placed

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_UNKNOWN_YET = 504
KEY_ERRORS = ("IDEMPOTENCY_KEY_INVALID", "IDEMPOTENCY_IN_FLIGHT", "IDEMPOTENCY_KEY_REUSED")


async def idempotency_key(
    request: Request,
    idempotency_key: Annotated[
        str | None, Header(description="1 to 255 printable characters; the same key repeats the first answer")
    ] = None,
) -> RequestKey | None:
    """The key of a request, quoted or not; IDEMPOTENCY_KEY_INVALID for any other text, and for two of them."""
    if idempotency_key is None:
        return None
    key = idempotency_key.strip()
    if len(key) > 2 and key.startswith('"') and key.endswith('"'):
        key = key[1:-1]
    if _KEY.fullmatch(key) is None or len(request.headers.getlist("Idempotency-Key")) > 1:
        raise InvalidRequest(code="IDEMPOTENCY_KEY_INVALID")
    return RequestKey(key, await _fingerprint(request))


# Keeps an answer with the transaction that does what it tells of.
type Keep = Callable[[UnitOfWork, BaseModel], Awaitable[None]]


async def _keep_nothing(_work: UnitOfWork, _shown: BaseModel) -> None:
    """Without a key nobody asks again."""


IdempotencyKey = Annotated[RequestKey | None, Depends(idempotency_key)]


class Once:
    """One request's run: `run` has the effect, `tell` answers the order's state or raises what it means."""

    def __init__(self, request: Request, container: Container, user_id: int, status: int) -> None:
        self._request = request
        self._container = container
        self._user_id = user_id
        self._status = status

    async def answer(
        self,
        key: RequestKey | None,
        run: Callable[[], Awaitable[Placed]],
        tell: Callable[[Placed], Awaitable[BaseModel]],
    ) -> Response:
        """The first answer to the key, again; without a key the answer of a fresh run."""
        if key is None:
            return self._rendered(await tell(await run()))
        idempotency = self._container.idempotency
        state = await idempotency.begin(self._user_id, key)
        if isinstance(state, Stored):
            return self._repeated(state)
        await buggify("idempotency.claimed")
        try:
            if isinstance(state, Bound):
                placed = await self._container.trading.placed(self._user_id, state.order_id)
            else:
                placed = await run()
        except BaseException:
            await idempotency.abandon(self._user_id, key)
            raise
        answer = await self._told(placed, tell)
        await buggify("idempotency.done")
        if answer.status_code == _UNKNOWN_YET:
            await idempotency.abandon(self._user_id, key)
        else:
            await idempotency.store(self._user_id, key, answer.status_code, bytes(answer.body))
        await buggify("idempotency.stored")
        return answer

    async def make(self, key: RequestKey | None, make: Callable[[Keep], Awaitable[BaseModel]]) -> Response:
        """Like `answer`, of what is done in one transaction, in which `make` keeps what a repetition is told."""
        if key is None:
            return self._rendered(await make(_keep_nothing))
        idempotency = self._container.idempotency
        state = await idempotency.begin(self._user_id, key)
        if isinstance(state, Stored):
            return self._repeated(state)
        await buggify("idempotency.claimed")
        try:
            return self._rendered(await make(partial(self._keep, key)))
        except BaseException:
            await idempotency.abandon(self._user_id, key)
            raise

    async def _keep(self, key: RequestKey, work: UnitOfWork, shown: BaseModel) -> None:
        await work.idempotency.answer(self._user_id, key, self._status, self._body(shown))

    async def _told(self, placed: Placed, tell: Callable[[Placed], Awaitable[BaseModel]]) -> Response:
        try:
            return self._rendered(await tell(placed))
        except MarqetError as refusal:
            return render(refusal, request_id=request_id_of(self._request.scope), clock=self._container.clock)

    def _rendered(self, answer: BaseModel) -> Response:
        return Response(self._body(answer), status_code=self._status, media_type="application/json")

    def _body(self, answer: BaseModel) -> bytes:
        return encode(answer.model_dump(), numbers_as_strings=wants_strings(self._request))

    @staticmethod
    def _repeated(stored: Stored) -> Response:
        return Response(
            stored.body,
            status_code=stored.status,
            media_type="application/json",
            headers={"Idempotency-Replayed": "true"},
        )


async def _fingerprint(request: Request) -> str:
    """A digest of method, path, query and parsed body: spelling and order of the JSON do not matter."""
    body = await request.body()
    if body:
        # What is no JSON is refused by the route.
        with suppress(ValueError):
            body = encode(_sorted(await request.json()), numbers_as_strings=True)
    text = f"{request.method}\0{request.url.path}\0{request.url.query}\0".encode()
    return hashlib.sha256(text + body).hexdigest()


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
