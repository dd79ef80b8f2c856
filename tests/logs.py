"""What is logged during a block."""

from collections.abc import Iterator
from contextlib import contextmanager

from loguru import logger


@contextmanager
def heard(level: str) -> Iterator[list[str]]:
    """The messages of this level and those above it, each a line."""
    lines: list[str] = []
    handler = logger.add(lambda line: lines.append(str(line)), level=level, format="{message}")
    try:
        yield lines
    finally:
        logger.remove(handler)
