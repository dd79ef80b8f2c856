"""What the test runner makes of modes, missing servers and coverage."""

import subprocess
from collections.abc import Mapping

import pytest

from scripts.run_tests import Stage, judge_coverage, main, missing_server, run_stage, why_unreachable

UNREACHABLE = "postgresql+asyncpg://someone:secret@127.0.0.1:1/postgres"
FULL = Stage("integration, full", "tests/integration", "full")
UNIT = Stage("unit", "tests/unit", "embedded")


def test_the_reason_names_the_server_but_no_password() -> None:
    reason = why_unreachable(UNREACHABLE)
    assert reason is not None
    assert "127.0.0.1:1" in reason
    assert "secret" not in reason


@pytest.mark.parametrize(("ci", "passed"), [("true", False), ("1", False), ("", True), ("false", True)])
def test_a_missing_server_fails_only_in_ci(ci: str, passed: bool) -> None:
    outcome = missing_server(FULL, {"TEST_DATABASE_URL": UNREACHABLE, "CI": ci})
    assert outcome is not None
    assert outcome.passed is passed
    assert outcome.note.startswith("left out") is passed


def test_the_embedded_mode_needs_no_server() -> None:
    assert missing_server(UNIT, {"TEST_DATABASE_URL": UNREACHABLE}) is None


@pytest.mark.parametrize(
    ("code", "arguments", "passed"),
    [(0, [], True), (1, [], False), (5, [], False), (5, ["-k", "x"], True), (2, ["-k", "x"], False)],
)
def test_a_stage_passes_when_its_tests_ran_and_passed(
    code: int, arguments: list[str], passed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[str] = []

    def run(command: list[str], *, env: Mapping[str, str], check: bool) -> subprocess.CompletedProcess[bytes]:
        modes.append(env["TEST_MODE"])
        assert command[len(command) - len(arguments) :] == arguments
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(subprocess, "run", run)
    assert run_stage(UNIT, {}, arguments).passed is passed
    assert modes == ["embedded"]


@pytest.mark.parametrize(("lines", "passed"), [(90.0, True), (89.96, False), (100.0, True)])
def test_lines_are_held_against_the_floor(lines: float, passed: bool) -> None:
    assert judge_coverage(lines).passed is passed


def test_the_summary_tells_every_stage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, 1 if "tests/unit" in command else 0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("TEST_DATABASE_URL", UNREACHABLE)
    monkeypatch.delenv("CI", raising=False)
    assert main(["-k", "x"]) == 1
    unit, simulation, embedded, full = capsys.readouterr().out.splitlines()[-4:]
    assert unit.startswith("FAIL  unit: pytest ended with 1")
    assert simulation.startswith("ok    simulation:")
    assert embedded.startswith("ok    integration, embedded:")
    assert full.startswith("ok    integration, full: left out: PostgreSQL")
