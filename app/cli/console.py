"""What the console script writes: text for people, JSON lines for programs, failures on standard error."""

import os
import re
import sys
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console
from rich.text import Text

from app.cli.failure import Failure
from app.core.json import encode

# A sentence of the API about its details is for programs: people are shown those.
OF_DETAILS = re.compile(r"; details\b.*$", re.DOTALL)
LONGEST_REASON = 120

# A table that goes into a file or a pipe must not be folded to the width of a terminal.
WIDTH_OF_A_PIPE = 200


def screen(stream: TextIO | None = None) -> Console:
    """A console on a stream (standard output), as wide as its terminal."""
    stream = stream or sys.stdout
    is_narrow = stream.isatty() or "COLUMNS" in os.environ
    return Console(file=stream, width=None if is_narrow else WIDTH_OF_A_PIPE, highlight=False, soft_wrap=False)


def say(*parts: str | Text) -> None:
    """Tell a person something beside the output proper: on standard error."""
    screen(sys.stderr).print(*parts, soft_wrap=True, markup=False)


def write_line(line: str) -> None:
    """Write one line for a program, as it is, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def write_json(value: object) -> None:
    """Write a value as one line of JSON; a Decimal keeps its digits."""
    write_line(encode(value).decode())


def show_failure(failure: Failure, *, as_json: bool) -> None:
    """Tell why a command failed."""
    if as_json:
        sys.stderr.write(encode(failure.envelope()).decode() + "\n")
        return
    message = OF_DETAILS.sub(".", failure.message)
    say(Text.assemble(("error: ", "bold red"), (failure.code, "bold"), " ", message))
    for line in _detail_lines(failure.details, f"{message} {failure.hint}"):
        say(Text(f"  {line}", style="dim"))
    if failure.hint:
        say(Text.assemble(("hint: ", "bold cyan"), failure.hint))


def _detail_lines(details: Mapping[str, object], told: str) -> list[str]:
    """Details of an API error, one a line; a validation error's list is told field by field.

    What is empty, or is told by message or hint, is left out.
    """
    lines = []
    for name, value in details.items():
        if value is None or value in ("", [], {}) or _stands_in(told, _listed(value)):
            continue
        if name == "errors" and isinstance(value, list):
            lines += [f"{wrong.get('field')}: {_short(wrong)}" for wrong in value if isinstance(wrong, dict)]
        else:
            lines.append(f"{name}: {_listed(value)}")
    return lines


def _short(wrong: Mapping[str, object]) -> str:
    """Why a field is wrong; a pattern is longer than anybody reads."""
    reason = str(wrong.get("message"))
    return reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}..."


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _stands_in(told: str, value: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(value)}(?![\w.]*\w)", told) is not None
