"""The one renderer of errors: every failure becomes the same envelope, whatever raised it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from loguru import logger
from starlette.exceptions import HTTPException

from app.core.clock import Clock, SystemClock
from app.core.database import is_retryable, is_unavailable
from app.core.json import encode, rfc3339
from app.domain.errors import CATALOGUE, InternalError, MarqetError, Unavailable
from app.schemas import websocket
from app.schemas.error import ErrorEnvelope

MAX_ERRORS = 20
MAX_NAME = 64
RETRY_SECONDS = 1
_BY_STATUS = {
    400: "VALIDATION_ERROR",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "RATE_LIMITED",
    503: "SERVICE_UNAVAILABLE",
}


def envelope(error: MarqetError, *, request_id: str, clock: Clock) -> dict[str, object]:
    """The body of an error answer; WebSocket frames carry the same code and message."""
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "details": dict(error.details),
            "timestamp": rfc3339(clock.now()),
            "request_id": request_id,
        }
    }


def render(error: MarqetError, *, request_id: str, clock: Clock, headers: Mapping[str, str] | None = None) -> Response:
    """The whole answer, with the headers that its status calls for."""
    answer = Response(
        encode(envelope(error, request_id=request_id, clock=clock)),
        status_code=error.status,
        media_type="application/json",
        headers=headers,
    )
    if error.status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        answer.headers["Retry-After"] = str(math.ceil(error.retry_after))
    return answer


def named(error: Exception) -> MarqetError:
    """What an exception means to the caller: nothing of its own text is told."""
    if isinstance(error, MarqetError):
        return error
    if is_unavailable(error) or is_retryable(error):
        return Unavailable(retry_after=RETRY_SECONDS)
    return InternalError()


# What pydantic says of a body that is no JSON object is about Python.
_PLAINER = dict.fromkeys(("model_attributes_type", "model_type", "dict_type"), "Input should be a JSON object")


def describe(errors: Sequence[Mapping[str, Any]]) -> MarqetError:
    """Name each wrong field and what is wrong with it, without repeating what was sent."""
    described = [
        {
            "field": field_name(error["loc"]),
            "code": error["type"],
            "message": _PLAINER.get(error["type"], error["msg"]),
        }
        for error in errors[:MAX_ERRORS]
    ]
    return MarqetError(code="VALIDATION_ERROR", errors=described)


def field_name(location: Sequence[object]) -> str:
    """How an error names a field: cut, and printable, whatever the caller called it."""
    name = ".".join(str(part)[:MAX_NAME] for part in location)
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def request_id_of(scope: Mapping[str, Any]) -> str:
    """The id that the middleware gave to this request."""
    state: Mapping[str, str] = scope.get("state") or {}
    return state.get("request_id", "")


def install(app: FastAPI, clock: Clock | None = None) -> None:
    """Make every error of the app's routes answer with the envelope."""
    clock = clock or SystemClock()

    async def on_named(request: Request, error: Exception) -> Response:
        problem = named(error)
        if problem.status >= 500:
            logger.warning("{code}: {message}", code=problem.code, message=problem.message)
        return render(problem, request_id=request_id_of(request.scope), clock=clock)

    async def on_validation(request: Request, error: Exception) -> Response:
        problem = describe(error.errors()) if isinstance(error, RequestValidationError) else named(error)
        return render(problem, request_id=request_id_of(request.scope), clock=clock)

    async def on_http(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        # Our own routes raise NotFound; what the framework does not find is a path.
        sentence = _nothing_at(request.url.path) if status == 404 else None
        code = _BY_STATUS.get(status, "INTERNAL_ERROR" if status >= 500 else "VALIDATION_ERROR")
        problem = MarqetError(sentence, code=code)
        headers = _allowing_head(error.headers) if isinstance(error, HTTPException) else None
        return render(problem, request_id=request_id_of(request.scope), clock=clock, headers=headers)

    app.add_exception_handler(MarqetError, on_named)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)


def _nothing_at(path: str) -> str:
    if path.endswith(websocket.PATH):
        return f"{websocket.PATH} is a WebSocket: connect to it by ws:// or wss://."
    return "No such path; /docs lists them all."


def _allowing_head(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Headers of a refusal; where GET is allowed, so is HEAD."""
    if headers is None or headers.get("Allow") != "GET":
        return headers
    return {**headers, "Allow": "GET, HEAD"}


# What a route can answer that asks who is there, and one that takes a body.
SIGNED_IN = ("UNAUTHORIZED", "TOKEN_EXPIRED")
WITH_BODY = ("VALIDATION_ERROR", "INVALID_JSON", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE")
_ANYWHERE = ("VALIDATION_ERROR", "SERVICE_UNAVAILABLE")


def responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` of a route that can fail with these codes and those of every route, by status."""
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys((*codes, *_ANYWHERE)):
        by_status.setdefault(CATALOGUE[code].status, []).append(code)
    return {
        status: {
            "model": ErrorEnvelope,
            "description": "; ".join(f"{code}: {CATALOGUE[code].meaning}" for code in same),
            "content": {"application/json": {"examples": {code: {"value": _example(code)} for code in same}}},
        }
        for status, same in sorted(by_status.items())
    }


def _example(code: str) -> dict[str, object]:
    return {
        "error": {
            "code": code,
            "message": CATALOGUE[code].meaning,
            "details": {},
            "timestamp": "2026-01-05T12:00:00Z",
            "request_id": "req_5f3kz2v7m4q6w8x9y2a3b4c5d6",
        }
    }


DEFAULT_RESPONSE: dict[int | str, dict[str, Any]] = {
    "default": {"model": ErrorEnvelope, "description": "Any error, in the one envelope."}
}
