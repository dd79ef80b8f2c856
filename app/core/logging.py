"""Logs: Loguru to one line of JSON or of text, secrets struck out, the standard library's logs included."""

import logging
import re
import sys
import traceback
from collections.abc import Callable
from typing import Literal, TextIO

import loguru
import orjson
from loguru import logger

type Format = Literal["auto", "pretty", "json"]

STRUCK_OUT = "***"
SECRET_NAME = re.compile(
    r"authorization|cookie|password|secret|token|api[_-]?key|private|signature|mnemonic|seed", re.IGNORECASE
)
SECRET_TEXT = re.compile(
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*"
    r"|\b0x[0-9a-fA-F]{64}\b"
    r"|\bwhsec_[A-Za-z0-9+/=_-]+"
    r"|\bmq[a-z]_[A-Za-z0-9_-]{20,}"
    r"|(?<=://)[^/\s:@]*:[^/\s@]*(?=@)"
    r"|(?<=ticket=)[^&\s]+"
)
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
COLOURS = {"WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[31;1m"}
PLAIN = "\033[0m"
NOISY = (
    "alembic",
    "httpx2",
    "httpcore2",
    "asyncio",
    "sqlalchemy",
    "celery.app.trace",
    "celery.beat",
    "celery.worker.strategy",
)


def configure(*, level: str = "INFO", style: Format = "auto", stream: TextIO | None = None) -> None:
    """Send every log of the process to a stream (stdout), as text where a person reads it, else as JSON lines."""
    stream = stream or sys.stdout
    is_pretty = style == "pretty" or (style == "auto" and stream.isatty())
    write = _pretty(stream) if is_pretty else _json(stream)
    logger.remove()
    logger.configure(patcher=_strike_out)
    logger.add(write, level=level, format="{message}", backtrace=False, diagnose=False, catch=True)
    logging.basicConfig(handlers=[_FromStandardLibrary()], level=logging.getLevelName(level), force=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_tells_news)


def is_detailed() -> bool:
    """Whether what is logged as DEBUG is written anywhere; making such a line costs more than asking."""
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def struck_out(text: str) -> str:
    """The text without anything that looks like a secret."""
    return SECRET_TEXT.sub(STRUCK_OUT, text)


def _tells_news(record: logging.LogRecord) -> bool:
    """All but what uvicorn says of every handshake that was refused by an HTTP answer, as if it were a fault.

    An application that ends without any answer is told of by its own exception.
    """
    return record.msg != "ASGI callable returned without completing handshake."


class _FromStandardLibrary(logging.Handler):
    """Hands the standard library's records on."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record under its own name."""
        level: str | int = record.levelname if record.levelname in logging.getLevelNamesMapping() else record.levelno

        def name(ours: "loguru.Record") -> None:
            ours["name"], ours["function"], ours["line"] = record.name, record.funcName, record.lineno

        logger.patch(name).opt(exception=record.exc_info).log(level, "{}", record.getMessage())


def _strike_out(record: "loguru.Record") -> None:
    record["message"] = struck_out(record["message"])
    extra = record["extra"]
    for name, value in extra.items():
        if SECRET_NAME.search(name):
            extra[name] = STRUCK_OUT
        elif isinstance(value, str):
            extra[name] = struck_out(value)


def _trace(record: "loguru.Record") -> str:
    caught = record["exception"]
    if caught is None:
        return ""
    lines = traceback.format_exception(caught.type, caught.value, caught.traceback)
    return struck_out("".join(lines))


def _json(stream: TextIO) -> Callable[["loguru.Message"], None]:
    def write(message: "loguru.Message") -> None:
        record = message.record
        line: dict[str, object] = {
            "timestamp": record["time"],
            "level": record["level"].name,
            "logger": record["name"],
            "message": record["message"],
            **{f"extra_{name}" if name in _RESERVED else name: value for name, value in record["extra"].items()},
        }
        if trace := _trace(record):
            line["exception"] = trace
        stream.write(orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode() + "\n")
        stream.flush()

    return write


_RESERVED = frozenset({"timestamp", "level", "logger", "message", "exception"})


def _pretty(stream: TextIO) -> Callable[["loguru.Message"], None]:
    is_coloured = stream.isatty()

    def write(message: "loguru.Message") -> None:
        record = message.record
        level = record["level"].name
        request_id = record["extra"].get("request_id", "")
        text = " ".join(
            part
            for part in (
                f"{record['time']:%H:%M:%S.%f}"[:-3],
                f"{level:<7}",
                _on_one_line(record["message"]),
                f"[{request_id}]" if request_id else "",
            )
            if part
        )
        colour = COLOURS.get(level, "") if is_coloured else ""
        stream.write(f"{colour}{text}{PLAIN if colour else ''}\n{_trace(record)}")
        stream.flush()

    return write


def _on_one_line(text: str) -> str:
    """Control characters are written out, so that no text can forge a line of its own."""
    return CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)
