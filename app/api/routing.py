"""Routes of ours: strict JSON in, exact numbers out."""

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from email.message import Message
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.types import Receive, Scope

from app.api.errors import MAX_ERRORS, field_name
from app.api.strict_json import load_strict
from app.core.json import encode
from app.domain.errors import InvalidRequest

type Endpoint = Callable[..., Awaitable[Any]]


class StrictRequest(Request):
    """A request whose JSON is read once, strictly, before anything else looks at it."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__(scope, receive)
        self._value: Any = None

    async def read(self) -> None:
        """Read and parse the body; InvalidRequest for a wrong media type or what is not strict JSON."""
        body = await self.body()
        if body:
            _check_media_type(self.headers.get("content-type", ""), self.headers.get("content-encoding"))
            self._value = load_strict(body)

    async def json(self) -> Any:
        """The value that `read` found."""
        return self._value


class MarqetRoute(APIRoute):
    """Reads bodies by StrictRequest and writes what the endpoint returns with every decimal digit.

    `Accept: application/json; numbers=string` gets all decimal numbers as strings. An endpoint that returns a
    Response is left alone. Headers of an answer are set through `request.state.headers` (a dict).
    """

    def __init__(self, path: str, endpoint: Endpoint, **options: Any) -> None:
        super().__init__(path, _unwritten(endpoint), **options)
        self._adapter = TypeAdapter[Any](self.response_model) if self.response_model else None

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, between reading and writing of our own."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            if self.body_field is not None:
                await strict.read()
            answer = await handle(strict)
            if not isinstance(answer, _Unwritten):
                return answer
            return Response(
                self.written(answer.value, numbers_as_strings=wants_strings(request)),
                status_code=self.status_code or 200,
                media_type="application/json",
            )

        return handler

    def written(self, value: object, *, numbers_as_strings: bool = False) -> bytes:
        """The JSON of an endpoint's value, in the shape that the route declares."""
        if self._adapter is None:
            return encode(value, numbers_as_strings=numbers_as_strings)
        shaped = self._adapter.validate_python(value, from_attributes=True)
        return encode(self._adapter.dump_python(shaped), numbers_as_strings=numbers_as_strings)


class StrictQueryRoute(MarqetRoute):
    """Refuses query parameters that it does not know, by name: a misspelt `fraction` must not close a whole trade."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, behind a look at the query."""
        handle = super().get_route_handler()
        known = _query_names(self.dependant)

        async def handler(request: Request) -> Response:
            # Most requests have no query to look at.
            if request.scope["query_string"]:
                unknown = [name for name in request.query_params if name not in known]
                if unknown:
                    raise InvalidRequest(errors=[_unknown_parameter(name) for name in unknown[:MAX_ERRORS]])
            return await handle(request)

        return handler


def _query_names(dependant: Dependant) -> frozenset[str]:
    own = {field.alias for field in dependant.query_params}
    return frozenset(own).union(*(_query_names(inner) for inner in dependant.dependencies))


def _unknown_parameter(name: str) -> dict[str, str]:
    return {
        "field": field_name(("query", name)),
        "code": "extra_forbidden",
        "message": "There is no such query parameter",
    }


class _Unwritten(Response):
    """What an endpoint returned, on its way through FastAPI."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value


def _unwritten(endpoint: Endpoint) -> Endpoint:
    if not inspect.iscoroutinefunction(endpoint):
        raise TypeError(f"{endpoint!r} must be an async function")

    @functools.wraps(endpoint)
    async def wrapped(*arguments: Any, **named: Any) -> Response | None:
        value = await endpoint(*arguments, **named)
        return value if value is None or isinstance(value, Response) else _Unwritten(value)

    return wrapped


def wants_strings(request: Request) -> bool:
    """Whether the caller asked for decimal numbers as strings."""
    return "numbers=string" in request.headers.get("accept", "").replace(" ", "")


def _check_media_type(content_type: str, encoding: str | None) -> None:
    message = Message()
    message["content-type"] = content_type or "application/octet-stream"
    is_json = message.get_content_maintype() == "application" and (
        message.get_content_subtype() == "json" or message.get_content_subtype().endswith("+json")
    )
    charset = message.get_content_charset()
    if not is_json or charset not in {None, "utf-8"} or encoding not in {None, "identity"}:
        raise InvalidRequest(code="UNSUPPORTED_MEDIA_TYPE")


def router(*, prefix: str = "", tag: str, route_class: type[MarqetRoute] = MarqetRoute) -> APIRouter:
    """A router whose routes are ours; the tag begins each operation id."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=route_class)


def operation_id(route: APIRoute) -> str:
    """A stable operation id: tag and function name."""
    return f"{route.tags[0]}_{route.name}" if route.tags else route.name
