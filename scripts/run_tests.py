"""Runs all tests: unit and simulation once, integration in every mode that can run here; measures coverage.

python -m scripts.run_tests [pytest arguments]

TEST_DATABASE_URL names the server of the full mode, TEST_WORKERS the processes of each stage. With CI=true a
server that does not answer is a failure; else its mode is left out, and the last lines say so.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import asyncpg

DEFAULT_DATABASE_URL = "postgresql+asyncpg://postgres@127.0.0.1:5432/postgres"
LINES_FLOOR = 90
# Tests start many processes, of which each would compile every module again where this is forbidden.
COMPILED_ONCE = {"PYTHONDONTWRITEBYTECODE": ""}
NOTHING_SELECTED = 5  # how pytest says that no test was run


@dataclass(frozen=True)
class Stage:
    """One run of pytest: which folder, in which mode."""

    name: str
    folder: str
    mode: str


@dataclass(frozen=True)
class Outcome:
    """How one stage went; `note` is what the summary says of it."""

    name: str
    passed: bool
    note: str


STAGES = (
    Stage("unit", "tests/unit", "embedded"),
    Stage("simulation", "tests/simulation", "embedded"),
    Stage("integration, embedded", "tests/integration", "embedded"),
    Stage("integration, full", "tests/integration", "full"),
)


def why_unreachable(url: str) -> str | None:
    """What keeps us from a PostgreSQL server; None when it answers. The password is in no answer."""
    try:
        asyncio.run(_ask(url.replace("postgresql+asyncpg://", "postgresql://", 1)))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        parts = urlsplit(url)
        return f"PostgreSQL at {parts.hostname}:{parts.port or 5432} does not answer ({type(error).__name__})"
    return None


async def _ask(dsn: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=5)
    try:
        await connection.execute("SELECT 1")
    finally:
        await connection.close()


def missing_server(stage: Stage, environment: Mapping[str, str]) -> Outcome | None:
    """The outcome of a stage whose server does not answer: left out, or failed in CI. None: it can run."""
    if stage.mode != "full":
        return None
    reason = why_unreachable(environment["TEST_DATABASE_URL"])
    if reason is None:
        return None
    is_ci = environment.get("CI", "").lower() in {"1", "true", "yes"}
    return Outcome(stage.name, passed=not is_ci, note=reason if is_ci else f"left out: {reason}")


def run_stage(stage: Stage, environment: Mapping[str, str], arguments: Sequence[str]) -> Outcome:
    """Run pytest on one stage; its coverage is added to what is there."""
    if missing := missing_server(stage, environment):
        return missing
    print(f"\n=== {stage.name} ===", flush=True)
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-n", environment.get("TEST_WORKERS", "2"), stage.folder]
    command += ["--cov", "--cov-append", "--cov-report=", *arguments]
    code = subprocess.run(command, env={**environment, "TEST_MODE": stage.mode}, check=False).returncode
    took = f"{time.monotonic() - started:.0f} s"
    if code == NOTHING_SELECTED and arguments:
        return Outcome(stage.name, passed=True, note="nothing selected")
    return Outcome(stage.name, passed=code == 0, note=took if code == 0 else f"pytest ended with {code} after {took}")


def read_coverage() -> float:
    """The share of the product's lines that ran since the last erase, in percent."""
    command = [sys.executable, "-m", "coverage", "json", "-q", "--fail-under=0", "-o", "-"]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    totals = json.loads(report)["totals"]
    return float(100 * totals["covered_lines"] / max(totals["num_statements"], 1))


def judge_coverage(lines: float) -> Outcome:
    """Hold the share of lines against the floor."""
    return Outcome("coverage", passed=lines >= LINES_FLOOR, note=f"{lines:.1f} % of lines (at least {LINES_FLOOR})")


def main(arguments: Sequence[str]) -> int:
    """Run every stage, then tell all outcomes; 1 when one failed. Coverage is judged on whole runs only."""
    environment = {"TEST_DATABASE_URL": DEFAULT_DATABASE_URL, **os.environ, **COMPILED_ONCE}
    subprocess.run([sys.executable, "-m", "coverage", "erase"], check=True)
    outcomes = [run_stage(stage, environment, arguments) for stage in STAGES]
    if not arguments:
        outcome = judge_coverage(read_coverage())
        if not outcome.passed:
            subprocess.run([sys.executable, "-m", "coverage", "report", "--fail-under=0"], check=False)
        outcomes.append(outcome)
    print()
    for outcome in outcomes:
        print(f"{'ok  ' if outcome.passed else 'FAIL'}  {outcome.name}: {outcome.note}")
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
