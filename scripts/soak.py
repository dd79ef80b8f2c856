"""Runs the long tests at length: simulated worlds by the thousand, model runs, kills, engines, a cluster under fire.

python -m scripts.soak [simulation|model|kills|engines|chaos|all] [--seeds N] [--steps N] [--kills N] [--minutes N]

Ends with 1 when something failed; what failed is told with the command that repeats it. PostgreSQL is that of
TEST_DATABASE_URL where it answers, else one of our own.
"""

import argparse
import asyncio
import os
import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from scripts.run_tests import COMPILED_ONCE, DEFAULT_DATABASE_URL, why_unreachable

PARTS = ("simulation", "model", "kills", "engines", "chaos")
SIMULATION = "tests/simulation/test_simulation.py"
MODEL = "tests/simulation/test_model.py"
KILLS = "tests/integration/engine/test_kill.py"
ENGINES = "tests/integration/engine/test_engines.py"
CHAOS = "tests/integration/cluster/test_chaos.py"
# A cluster has servers of its own; the test runs in this mode alone.
CROWD = {"TEST_MODE": "full", "CHAOS_USERS": "50", "CHAOS_READERS": "200", "CHAOS_ENDPOINTS": "20"}
FIRST_MODEL_SEED = 1000
MODEL_STEPS_EACH = 250
SEEDS_AT_A_TIME = 10
FAILED = re.compile(r"^(?:FAILED|ERROR) (?P<test>\S+?(?:\[(?P<seed>[^\]]*)\])?)(?: - (?P<why>.*))?$", re.MULTILINE)
SKIPPED = re.compile(r"^SKIPPED \[\d+\] (?P<test>\S+?):\d+: (?P<why>.*)$", re.MULTILINE)
TAIL_LINES = 40


@dataclass(frozen=True)
class Job:
    """One run of pytest: `units` is what it counts in the progress of its part."""

    part: str
    test: str
    units: int
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Failure:
    """A test that failed, why in a line, and the command that runs it again."""

    test: str
    why: str
    command: str


@dataclass
class Result:
    """How one part went."""

    part: str
    unit: str
    units: int = 0
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)


def jobs_of(part: str, asked: argparse.Namespace) -> tuple[str, list[Job]]:
    """What a part counts, and its runs."""
    match part:
        case "simulation":
            return "seeds", [_simulated(part, first, end) for first, end in _chunks(asked.first_seed, asked.seeds)]
        case "model":
            runs = max(1, asked.steps // MODEL_STEPS_EACH)
            return "steps", [_modelled(part, first, end) for first, end in _chunks(FIRST_MODEL_SEED, runs)]
        case "kills":
            return "kills", [Job(part, KILLS, 2 * asked.kills, {"KILLS": str(asked.kills)})]
    seconds = str(asked.minutes * 60)
    if part == "chaos":
        return "seconds", [Job(part, CHAOS, int(asked.minutes * 60), {"CHAOS_SECONDS": seconds, **CROWD})]
    return "seconds", [Job(part, ENGINES, int(asked.minutes * 60), {"ENGINE_SECONDS": seconds})]


def _chunks(first: int, count: int) -> list[tuple[int, int]]:
    starts = range(first, first + count, SEEDS_AT_A_TIME)
    return [(start, min(start + SEEDS_AT_A_TIME, first + count)) for start in starts]


def _simulated(part: str, first: int, end: int) -> Job:
    seeds = {"SIMULATION_FIRST_SEED": str(first), "SIMULATION_SEEDS": str(end)}
    return Job(part, SIMULATION, end - first, seeds)


def _modelled(part: str, first: int, end: int) -> Job:
    steps = (end - first) * MODEL_STEPS_EACH
    return Job(part, MODEL, steps, {"MODEL_FIRST_SEED": str(first), "MODEL_STEPS": str(steps)})


def failures_of(job: Job, mode: str, output: str) -> list[Failure]:
    """The tests that a run of pytest names as failed, each with the command that repeats it alone.

    What was asked for and left out, such as for want of recorded data, has failed too.
    """
    found = [
        Failure(match["test"], f"left out: {match['why']}", _again(mode, job.environment, match["test"]))
        for match in SKIPPED.finditer(output)
    ]
    for match in FAILED.finditer(output):
        environment = dict(job.environment)
        if (seed := match["seed"]) and seed.isdigit():
            alone = (_simulated if job.test == SIMULATION else _modelled)(job.part, int(seed), int(seed) + 1)
            environment = dict(alone.environment)
        command = _again(mode, environment, match["test"])
        found.append(Failure(match["test"], (match["why"] or "").strip(), command))
    return found


def _again(mode: str, environment: Mapping[str, str], test: str) -> str:
    """The command that runs a test again."""
    words = [f"{name}={value}" for name, value in {"TEST_MODE": mode, "SOAK": "1", **environment}.items()]
    return shlex.join([*words, ".venv/bin/python", "-m", "pytest", "-q", test])


class Soak:
    """Runs jobs, so many at a time, and keeps their results; `mode` is the TEST_MODE of all of them."""

    def __init__(self, mode: str, workers: int, console: Console) -> None:
        self._mode = mode
        self._slots = asyncio.Semaphore(workers)
        self._console = console

    async def run(self, part: str, unit: str, jobs: Sequence[Job], progress: Progress) -> Result:
        """Run one part to its end, whatever fails."""
        result = Result(part, unit)
        started = time.monotonic()
        bar = progress.add_task(f"{part}, {unit}", total=sum(job.units for job in jobs))

        async def one(job: Job) -> None:
            async with self._slots:
                failures = await self._run_job(job)
            result.failures += failures
            result.units += job.units
            progress.advance(bar, job.units)

        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(one(job))
        result.seconds = time.monotonic() - started
        return result

    async def _run_job(self, job: Job) -> list[Failure]:
        environment = {**os.environ, **COMPILED_ONCE, "TEST_MODE": self._mode, "SOAK": "1", **job.environment}
        command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", job.test)
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output = (await process.communicate())[0].decode(errors="replace")
        failures = failures_of(job, self._mode, output)
        if not failures and not process.returncode:
            return []
        if not failures:
            repeat = shlex.join([*(f"{name}={value}" for name, value in job.environment.items()), *command])
            failures = [Failure(job.test, f"pytest ended with {process.returncode}", repeat)]
        self._console.print("\n".join(output.splitlines()[-TAIL_LINES:]), markup=False, highlight=False)
        for failure in failures:
            self._console.print(f"FAILED, again by: {failure.command}", style="red", markup=False, soft_wrap=True)
        return failures


def summary(results: Sequence[Result]) -> Table:
    """One row for each part."""
    table = Table("part", "ran", "took", "failed")
    for result in results:
        failed = f"[red]{len(result.failures)}[/]" if result.failures else "[green]none[/]"
        table.add_row(result.part, f"{result.units:,} {result.unit}", f"{result.seconds:,.0f} s", failed)
    return table


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="soak", description="Run the long tests at length.")
    parser.add_argument("part", nargs="?", default="all", choices=(*PARTS, "all"))
    parser.add_argument("--seeds", type=int, default=1000, help="simulated worlds")
    parser.add_argument("--first-seed", type=int, default=0, help="the first world's seed")
    parser.add_argument("--steps", type=int, default=100_000, help="steps of model runs")
    parser.add_argument("--kills", type=int, default=50, help="kills of the server in each recording")
    parser.add_argument(
        "--minutes", type=float, default=2, help="for how long engines, or the parts of a cluster, are killed in turn"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="worlds at a time")
    return parser.parse_args(words)


async def soak(asked: argparse.Namespace, mode: str, console: Console) -> list[Result]:
    """Run what was asked for, one part after the other."""
    runner = Soak(mode, asked.workers, console)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    results = []
    with Progress(*columns, console=console) as progress:
        for part in PARTS if asked.part == "all" else (asked.part,):
            unit, jobs = jobs_of(part, asked)
            results.append(await runner.run(part, unit, jobs, progress))
    return results


def main(words: Sequence[str]) -> int:
    """Run, then tell all; 1 when something failed."""
    asked, console = arguments(words), Console()
    url = os.environ.setdefault("TEST_DATABASE_URL", DEFAULT_DATABASE_URL)
    unreachable = why_unreachable(url)
    if unreachable:
        console.print(f"{unreachable}; each run has a PostgreSQL of its own.", style="dim")
    results = asyncio.run(soak(asked, "embedded" if unreachable else "full", console))
    console.print(summary(results))
    failures = [failure for result in results for failure in result.failures]
    for failure in failures:
        console.print(f"{failure.test}: {failure.why}\n  {failure.command}", markup=False, soft_wrap=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
