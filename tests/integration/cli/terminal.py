"""What a test types into a terminal, and what it reads there."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from typer.testing import Result

PHRASE = "a long enough phrase"

type Run = Callable[..., Coroutine[None, None, Result]]
type Ask = Callable[..., Coroutine[None, None, Any]]


async def failure(run: Run, *words: str, stdin: str | None = None) -> dict[str, Any]:
    """The error that a command tells programs."""
    ended = await run(*words, "--json", stdin=stdin, code=1)
    assert ended.stdout == ""
    told: dict[str, Any] = json.loads(ended.stderr)["error"]
    return told
