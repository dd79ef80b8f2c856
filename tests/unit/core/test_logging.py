"""Logs: one line each, nothing secret, the standard library's included."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from app.core.logging import configure, is_detailed, struck_out

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    logger.remove()
    logger.configure(patcher=lambda _: None)
    root.handlers[:], root.level = handlers, level


def fail(password: str) -> None:
    raise RuntimeError(f"{len(password)} letters")


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_json_line_with_its_context(stream: io.StringIO) -> None:
    configure(style="json", stream=stream)
    with logger.contextualize(request_id="req_12345678"):
        logger.info("order {order_id} filled", order_id=7)

    (line,) = lines(stream)
    assert (line["message"], line["order_id"], line["request_id"]) == ("order 7 filled", 7, "req_12345678")
    assert (line["level"], line["logger"]) == ("INFO", __name__)


def test_text_from_outside_forges_no_line_and_is_no_format(stream: io.StringIO) -> None:
    hostile = 'x"}\n{"level":"CRITICAL"} {0.__class__} {nope} \x1b[31m'
    configure(style="json", stream=stream)
    logger.info("{method} {path}", method="GET", path=hostile)

    (line,) = lines(stream)
    assert line["path"] == hostile

    pretty = io.StringIO()
    configure(style="pretty", stream=pretty)
    logger.info("{path}", path=hostile)
    assert len(pretty.getvalue().splitlines()) == 1
    assert "\x1b" not in pretty.getvalue()


@pytest.mark.parametrize(
    "name", ["password", "Authorization", "access_token", "api_key", "apikey", "private_key", "secret"]
)
def test_values_with_secret_names_are_struck_out(stream: io.StringIO, name: str) -> None:
    configure(style="json", stream=stream)
    logger.info("login", **{name: "hunter2-canary"})

    assert "hunter2-canary" not in stream.getvalue()
    assert lines(stream)[0][name] == "***"


@pytest.mark.parametrize(
    "secret",
    [
        JWT,
        "0x" + "ab" * 32,
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "mqr_" + "x" * 43,
        "mqt_" + "x" * 43,
    ],
)
def test_texts_that_look_secret_are_struck_out(stream: io.StringIO, secret: str) -> None:
    configure(style="json", stream=stream)
    logger.info("told {text}", text=f"it is {secret} here")
    try:
        int(secret)
    except ValueError:
        logger.exception("failed with {text}", text=secret)

    assert secret not in stream.getvalue()
    assert "it is *** here" in lines(stream)[0]["text"]
    assert "***" in lines(stream)[1]["exception"]


def test_userinfo_of_urls_and_tickets_are_struck_out() -> None:
    assert struck_out("postgresql://user:pass@host/db") == "postgresql://***@host/db"
    assert struck_out("GET /ws?ticket=abc&x=1") == "GET /ws?ticket=***&x=1"
    assert struck_out("http://127.0.0.1:8000/a@b") == "http://127.0.0.1:8000/a@b"


def test_a_trace_shows_no_values_of_variables(stream: io.StringIO) -> None:
    configure(style="json", stream=stream)
    value = "-".join(("hunter2", "canary"))
    try:
        fail(value)
    except RuntimeError:
        logger.exception("failed")

    assert "RuntimeError: 14 letters" in lines(stream)[0]["exception"]
    assert value not in stream.getvalue()


def test_the_standard_library_logs_the_same_way(stream: io.StringIO) -> None:
    configure(style="json", stream=stream)
    logging.getLogger("uvicorn.error").info("started on %s {braces}", "port 8000")
    logging.getLogger("httpx2").info("too much detail")

    (line,) = lines(stream)
    assert (line["logger"], line["message"]) == ("uvicorn.error", "started on port 8000 {braces}")


def test_levels_below_the_one_asked_are_left_out(stream: io.StringIO) -> None:
    configure(level="WARNING", style="json", stream=stream)
    logger.info("detail")
    logging.getLogger("uvicorn.error").info("detail")
    logger.warning("important")

    assert [line["message"] for line in lines(stream)] == ["important"]


@pytest.mark.parametrize(("level", "is_written"), [("DEBUG", True), ("INFO", False), ("ERROR", False)])
def test_details_are_made_only_where_they_are_written(stream: io.StringIO, level: str, is_written: bool) -> None:
    configure(level=level, stream=stream)
    logger.debug("a detail")
    assert is_detailed() is is_written
    assert bool(lines(stream)) is is_written


def test_a_person_gets_text_and_a_program_json() -> None:
    for stream, is_json in ((io.StringIO(), True), (Terminal(), False)):
        configure(style="auto", stream=stream)
        logger.warning("hello")
        assert stream.getvalue().startswith("{") is is_json
    assert "\033[33m" in stream.getvalue()


def test_reserved_names_are_kept_apart(stream: io.StringIO) -> None:
    configure(style="json", stream=stream)
    logger.bind(level="mine", when={"a": object}).info("hello")

    assert lines(stream)[0]["level"] == "INFO"
    assert lines(stream)[0]["extra_level"] == "mine"
