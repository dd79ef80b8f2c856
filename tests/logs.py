"""What is logged during a block."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from loguru import logger

from app.core.logging import configure


@contextmanager
def heard(level: str) -> Iterator[list[str]]:
    """The messages of this level and those above it, each a line."""
    lines: list[str] = []
    handler = logger.add(lambda line: lines.append(str(line)), level=level, format="{message}")
    try:
        yield lines
    finally:
        logger.remove(handler)


@contextmanager
def configured() -> Iterator[io.StringIO]:
    """What a process writes whose logs are configured, as lines of JSON."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure(style="json", stream=stream)
    try:
        yield stream
    finally:
        logger.remove()
        logger.configure(patcher=lambda _: None)
        root.handlers[:], root.level = handlers, level
