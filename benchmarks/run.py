"""Run the benchmarks: a table for people, benchmarks/latest.json for machines.

python -m benchmarks.run [names...]; every module here with a function `rows` is a benchmark. Coroutines run on the
event loop that servers run on.
"""

import asyncio
import inspect
import json
import os
import pkgutil
import platform
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.core.garbage import spare_what_lives

FOLDER = Path(__file__).parent
LATEST = FOLDER / "latest.json"
COLUMNS = ("value", "unit", "floor", "ratio", "target")


def names() -> list[str]:
    """The benchmarks there are."""
    found = sorted(module.name for module in pkgutil.iter_modules([str(FOLDER)]))
    return [name for name in found if "\ndef rows(" in (text := _source(name)) or "\nasync def rows(" in text]


def _source(name: str) -> str:
    """What a module says, without running it."""
    return (FOLDER / f"{name}.py").read_text(encoding="utf-8")


def measure(name: str) -> list[dict[str, Any]]:
    """The rows of one benchmark, whose `rows` may be a coroutine function."""
    module = import_module(f"benchmarks.{name}")
    # As the processes that serve do.
    spare_what_lives()
    rows = module.rows()
    return asyncio.run(_finished(rows), loop_factory=uvloop.new_event_loop) if inspect.isawaitable(rows) else rows


async def _finished(rows: Any) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = await rows
    return result


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """Rows as people read them: floor is the least the same work can cost, ratio is to it."""
    made = Table("name", *COLUMNS, "met")
    for column in made.columns[1:]:
        column.justify = "right"
    for row in rows:
        met = {True: "[green]yes[/]", False: "[red]no[/]", None: "-"}[row["met"]]
        made.add_row(row["name"], *(shown(row[column]) for column in COLUMNS), met)
    return made


def shown(value: float | str | None) -> str:
    """A cell of the table."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:,}"


def main(chosen: Sequence[str]) -> int:
    """Measure the chosen benchmarks, or all; 2 where one is not known."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    unknown = set(chosen) - set(names())
    if unknown:
        console.print(f"No benchmark {', '.join(sorted(unknown))}; there are: {', '.join(names())}", style="red")
        return 2
    rows = [row for name in _told(console, chosen or names()) for row in measure(name)]
    console.print(table(rows))
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count()}
    LATEST.write_text(json.dumps({**machine, "rows": rows}, indent=2) + "\n")
    return 0


def _told(console: Console, chosen: Sequence[str]) -> Iterator[str]:
    """Each of the names in its turn, told: above a bar on a terminal, as a line anywhere else."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("", total=len(chosen))
        for number, name in enumerate(chosen, 1):
            told = f"measuring {name} ({number} of {len(chosen)})"
            progress.update(bar, description=told, completed=number - 1)
            if not console.is_terminal:
                console.print(told)
            yield name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
