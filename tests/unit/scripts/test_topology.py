"""What `scripts/cluster` is asked for, and what it shows."""

import shlex
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from scripts.topology.__main__ import arguments, guide, table
from scripts.topology.cluster import Cluster, Member, Shape

DATABASE_URL = "postgresql+asyncpg://postgres@/marqetfi?host=%2Fhome%2Fada%2Fmarqetfi%2F.data&port=5432"


def test_settings_are_pairs() -> None:
    asked = arguments(["--port", "45531", "LOG_LEVEL=DEBUG", "PAPER_REPLAY=BTCUSDT=a.csv", "LOG_FILE="])
    assert dict(asked.settings) == {"LOG_LEVEL": "DEBUG", "PAPER_REPLAY": "BTCUSDT=a.csv", "LOG_FILE": ""}
    assert arguments([]).settings == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--port", "45533"], "argument --port: 45533 is not between 1 and 45532: RabbitMQ takes a port 20,000 above"),
        (["--apis", "3", "--port", "45532"], "45532 is not between 1 and 45531"),
        (["--port", "0"], "0 is not between 1 and 45532"),
        (["DEBUG"], "'DEBUG' is not a setting such as LOG_LEVEL=DEBUG"),
        (["=DEBUG"], "'=DEBUG' is not a setting such as LOG_LEVEL=DEBUG"),
        (["--engines", "-1"], "'-1' is not a number such as 2"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments(words)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_help_shows_what_is_taken_unless_told_otherwise(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit):
        arguments(["--help"])
    shown = capsys.readouterr().out
    assert "(default: 8100)" in shown
    assert "(default: .data/cluster)" in shown
    assert "None" not in shown


def test_every_url_is_whole_in_80_columns(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "cluster", Shape(first_port=45_532))
    cluster.members["api-1"] = Member("api-1", ["serve"], {}, tmp_path / "api-1.log", 45_532)
    console = Console(file=StringIO(), width=80)
    with console.capture() as capture:
        console.print(table(cluster))
    shown = capture.get()
    for url in (cluster.redis.url, cluster.rabbitmq.url, "http://127.0.0.1:45532"):
        assert url in shown


def test_the_guide_is_a_line_that_a_shell_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    logs, commands, _rest = guide(Shape(), tmp_path / ".data" / "cluster", DATABASE_URL).splitlines()
    assert logs.endswith(" .data/cluster/NAME.log")
    assert shlex.split(commands) == [
        "commands",
        "PORT=8100",
        f"DATABASE_URL={DATABASE_URL}",
        "marqetfi",
        "doctor",
    ]
