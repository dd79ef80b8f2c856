"""`marqetfi trading-state` on a database of its own."""

import json

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from tests.conftest import TEST_SECRET, MakeDatabase


@pytest.fixture
def run(new_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Runs commands on a migrated database."""
    monkeypatch.setenv("DATABASE_URL", new_database())
    monkeypatch.setenv("SECRET_KEY", TEST_SECRET)
    return CliRunner()


def call(run: CliRunner, *words: str, code: int = 0) -> str:
    """What a command writes."""
    ended = run.invoke(app, ["trading-state", *words])
    assert ended.exit_code == code, ended.output
    return ended.output


def test_trading_is_halted_and_released(run: CliRunner) -> None:
    assert "active everywhere" in call(run, "show")
    said = call(run, "set", "global", "all", "halted", "--reason", "a drill")
    assert said == "Trading of everything is halted now.\n"

    told = json.loads(call(run, "show", "--json"))
    (row,) = told["states"]
    assert {name: row[name] for name in ("scope", "key", "state", "reason", "changed_by")} == {
        "scope": "global",
        "key": "all",
        "state": "halted",
        "reason": "a drill",
        "changed_by": "console",
    }
    shown = call(run, "show")
    assert "Scope" in shown
    assert "halted" in shown
    assert "a drill" in shown

    answer = json.loads(call(run, "set", "global", "all", "active", "--reason", "over", "--json"))
    assert (answer["state"], answer["reason"]) == ("active", "over")
    assert "active everywhere" in call(run, "show")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("pair", "999999", "halted", "--reason", "x"), 1, "There is no pair 999999. Its key is its id."),
        (("venue", "nowhere", "halted", "--reason", "x"), 1, "There is no venue nowhere. There is paper."),
        (("user", "me", "halted", "--reason", "x"), 1, "The key of a user is its id, such as 12; me is none."),
        (("global", "some", "halted", "--reason", "x"), 1, "There is no global some. The one key of global is all."),
        (("global", "all", "paused", "--reason", "x"), 2, "paused"),
        (("global", "all", "halted"), 2, "--reason"),
        (("global", "all", "halted", "--reason", " "), 2, "reason"),
    ],
)
def test_what_makes_no_sense_is_refused(run: CliRunner, words: tuple[str, ...], code: int, said: str) -> None:
    assert said in call(run, "set", *words, code=code)


@pytest.mark.parametrize("words", [("trading-state", "show"), ("admin", "create", "a@example.com")])
def test_a_database_that_a_server_would_not_serve_is_left_as_it_is(
    empty_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database())
    for _ in range(2):
        ended = CliRunner().invoke(app, words)
        assert ended.exit_code == 1
        assert "MIGRATIONS_PENDING" in ended.output
