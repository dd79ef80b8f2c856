"""The commands that exist, how they are found, and how wrong usage and failures end."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from app.cli.console import show_failure
from app.cli.environment import unknown_names
from app.cli.failure import Failure
from app.cli.lazy import LazyGroup
from app.cli.main import Root, app
from app.cli.prices import Prices
from app.cli.webhooks import Webhooks
from app.core.version import VERSION

GROUPS: list[type[LazyGroup]] = [Root, Prices, Webhooks]
COMMANDS = [(group, name) for group in GROUPS for name in group.table]


def run(*words: str, **options: Any) -> Result:
    """Run the console script in this process."""
    return CliRunner().invoke(app, list(words), **options)


def plain(text: str) -> str:
    """The text of a box, on one line."""
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(("group", "name"), COMMANDS)
def test_the_list_says_of_each_command_what_the_command_says_of_itself(group: type[LazyGroup], name: str) -> None:
    command = group().load(name)
    assert command.name == name
    assert command.help.splitlines()[0].partition(": marqetfi")[0].rstrip(".") == group.table[name].summary.rstrip(".")


@pytest.mark.parametrize(("group", "name"), COMMANDS)
def test_each_target_exists(group: type[LazyGroup], name: str) -> None:
    module, _, attribute = group.table[name].target.partition(":")
    assert callable(getattr(import_module(module), attribute))


def test_help_lists_every_command() -> None:
    shown = run("--help").stdout
    assert all(f" {name} " in shown for name in Root.table)


def test_help_of_one_option() -> None:
    shown = plain(run("trade", "open", "--help").stdout)
    assert "--trailing" in shown
    assert "--long" in shown


def test_version() -> None:
    assert run("--version").stdout == f"{VERSION}\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trde"], "No such command 'trde'. Did you mean 'trade'"),
        (
            ["trade", "open", "BTC", "--collateral", "100"],
            "say which way: --long (you win when the price rises) or --short",
        ),
        (
            ["trade", "open", "BTC", "--long", "--short", "--collateral", "100"],
            "--long and --short are both given: say one of them",
        ),
        (
            ["trade", "open", "BTC", "--long", "--collateral", "10", "--oco-stop", "50000"],
            "--oco-stop needs --oco-take-profit too",
        ),
        (
            ["trade", "open", "BTC", "--long", "--collateral", "10", "--oco-take-profit", "50000"],
            "--oco-take-profit needs --oco-stop too",
        ),
        (["trade", "open", "BTC", "--long", "--collateral", "1e3"], "'1e3' is not a number such as 100 or 0.25"),
        (["trade", "open", "BTC", "--long", "--collateral", "-5"], "'-5' is negative: give a positive number"),
        (["trade", "open", "BTC", "--long", "--collateral", "NaN"], "'NaN' is not a number"),
        (["trade", "open", "BTC", "--long", "--collateral", "1", "--trailing", "x%"], "'x' is not a number"),
        (["trade", "close", "1", "--fraction", "half"], "'half' is not a number"),
        (["order", "attach", "BTC"], "give one exit"),
        (["order", "attach", "BTC", "--stop", "1", "--take-profit", "2"], "give one exit"),
        (["order", "attach", "BTC", "--oco-stop", "1"], "give one exit"),
        (["order", "amend", "1"], "give at least one term to change"),
        (["order", "amend", "1", "--activation", "5", "--no-activation"], "say where the trailing stop begins"),
        (["order", "cancel", "0"], "ORDER_ID"),
        (["cancel-all-after", "--scope", "all"], "say after how many SECONDS"),
        (["cancel-all-after", "86401"], "Invalid value for 'SECONDS'"),
        (["candles", "BTC", "--interval", "2m"], "Invalid value for '--interval': '2m' is not one of '1m', '5m', '1h'"),
        (["analytics", "pnl", "--by", "year"], "Invalid value for '--by': 'year' is not one of 'day', 'week', 'month'"),
        (["sessions", "end", "7"], "Invalid value for 'ID'"),
        (["sessions", "--every"], "No such option: --every"),
        (["serve", "--workers", "2"], "2 API processes would not share rate limits"),
        (["register", "--email", "a@example.com", "--username", "ann"], "give it by --password-stdin"),
        (["webhooks", "update", "1"], "give at least one thing to change"),
        (["webhooks", "resend", "1"], "name one delivery, or give --since"),
        (["webhooks", "resend", "1", "2", "--since", "2h"], "name one delivery, or give --since"),
        (["webhooks", "resend", "1", "--since", "yesterday"], "'yesterday' is not a time such as 2h, 3d or 2026-"),
        (["webhooks", "resend", "1", "--since", "0001-01-01"], "'0001-01-01' is not a time"),
        (["webhooks", "rotate", "1", "--overlap", "169"], "Invalid value for '--overlap'"),
        (["webhooks", "verify", "--body", "b", "-H", "a: b"], "say whose secret counts: WEBHOOK_ID, or --secret-stdin"),
        (["webhooks", "verify", "1", "--secret-stdin", "--body", "b", "-H", "a: b"], "say whose secret counts"),
        (["webhooks", "verify", "--secret-stdin", "--body", "-", "-H", "a: b"], "cannot both come from standard input"),
        (["webhooks", "verify", "1", "--body", "none", "-H", "a: b"], "none cannot be read: No such file or directory"),
        (["webhooks", "verify", "1", "--body", "-", "-H", "a b"], "'a b' is not a header such as 'webhook-id: evt_42'"),
        (["seed", "--url", "https://api.example.com"], "choose a --password"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(words: list[str], sentence: str) -> None:
    ended = run(*words, env={"COLUMNS": "200"})
    assert ended.exit_code == 2
    assert sentence in plain(ended.stderr)


def test_more_workers_are_refused_by_the_environment_too() -> None:
    assert run("serve", env={"WEB_CONCURRENCY": "4"}).exit_code == 2


def test_wrong_settings_are_named_without_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "many")
    monkeypatch.setenv("PAPER_SIMULATED_HZ", "-7")
    ended = run("pairs")
    assert ended.exit_code == 1
    assert "SETTINGS_INVALID" in ended.stderr
    assert "PORT: " in ended.stderr
    assert "PAPER_SIMULATED_HZ: " in ended.stderr
    assert "many" not in ended.stderr
    assert "-7" not in ended.stderr


def test_settings_that_do_not_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPER_FEED", "replay")
    assert "PAPER_FEED=replay needs PAPER_REPLAY=" in run("serve").stderr
    monkeypatch.setenv("ENVIRONMENT", "production")
    told = run("doctor", env={"COLUMNS": "300"})
    assert told.exit_code == 1
    for named in ("DATABASE_URL", "SECRET_KEY", "PAPER_REPLAY="):
        assert named in told.stdout
    assert "settings:" not in told.stdout


def test_names_that_are_no_settings_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unknown_names() == {}
    Path(".env").write_text("paper_replayy=a.csv\nPORT=1\nSOMETHING=else\n")
    monkeypatch.setenv("RATE_LIMIT_TRADES", "5")
    monkeypatch.setenv("MARQETFI_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("PAPER_SPEEDING", "1")
    assert unknown_names() == {
        "PAPER_REPLAYY": "PAPER_REPLAY",
        "RATE_LIMIT_TRADES": "RATE_LIMIT_TRADE",
        "PAPER_SPEEDING": None,
        "SOMETHING": None,
    }


def test_a_failure_for_people_and_for_programs() -> None:
    unreachable = {"MARQETFI_URL": "http://127.0.0.1:9"}
    ended = run("pairs", env=unreachable)
    assert ended.exit_code == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith("error: SERVER_UNREACHABLE Nothing answers at http://127.0.0.1:9")
    assert "hint: " in ended.stderr
    told = json.loads(run("pairs", "--json", env=unreachable).stderr)
    assert told["error"]["code"] == "SERVER_UNREACHABLE"
    assert "marqetfi serve" in told["error"]["details"]["hint"]


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999", "http://[::1"])
def test_what_is_no_url_is_told_before_anything_else(url: str) -> None:
    assert "error: URL_INVALID" in run("positions", "--url", url).stderr


def test_a_server_that_is_not_there_is_told_before_a_missing_login() -> None:
    assert "error: SERVER_UNREACHABLE" in run("positions", "--url", "http://127.0.0.1:9").stderr


def test_amending_tells_of_new_levels() -> None:
    shown = run("order", "amend", "--help").stdout
    assert "new price" in shown
    assert "Attach" not in shown


def test_people_are_not_told_of_details_nor_twice(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [{"field": "body.email", "message": "x" * 500}]
    details = {"asset": "DOGE", "near": [], "pid": 50, "least": 5, "errors": wrong}
    failure = Failure("X", "No pair trades it: process 50; details.near lists similar ones.", details=details)
    show_failure(failure, as_json=False)
    shown = capsys.readouterr().err
    assert shown.splitlines()[0] == "error: X No pair trades it: process 50."
    assert [line.strip()[:8] for line in shown.splitlines()[1:]] == ["asset: D", "least: 5", "body.ema"]
    assert "x" * 200 not in shown
    show_failure(failure, as_json=True)
    assert json.loads(capsys.readouterr().err)["error"]["details"]["near"] == []


def test_a_group_without_a_command_shows_its_help() -> None:
    assert "attach" in run("order").output
    assert "sample" in run("prices").output


def test_loading_makes_real_commands() -> None:
    assert isinstance(Root().load("trade"), typer.core.TyperGroup)
    assert not isinstance(Root().load("pairs"), typer.core.TyperGroup)
