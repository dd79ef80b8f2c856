"""Of several errors one is raised, and none is lost."""

import pytest
from loguru import logger

from app.core.gathering import raise_first


def test_without_errors_nothing_happens() -> None:
    raise_first([None, 1, "x"])


def test_the_first_is_raised_and_the_others_are_told() -> None:
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(str(message)), format="{message}")
    try:
        with pytest.raises(LookupError, match="first"):
            raise_first([None, LookupError("first"), ValueError("second"), OSError("third")])
    finally:
        logger.remove(sink)

    assert ["ValueError: second" in line or "OSError: third" in line for line in lines] == [True, True]
    assert not any("LookupError" in line for line in lines)
