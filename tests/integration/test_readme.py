"""Runs the README's quick start, every command as it is written, against a server that it starts itself."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.folders import passable_folder
from tests.ports import free_port
from tests.waiting import until_sync

ROOT = Path(__file__).resolve().parents[2]
STEP = re.compile(r"<!-- quick-start: ([a-z-]+) -->\n\n```sh\n(.*?)```", re.DOTALL)
SERVERS = {"server", "restart", "webhook-server"}
# What each step of the reader must show; a step that is missing here, or in the README, fails.
SHOWN = {
    "register": ["Registered ada@example.com", "BTCUSDT", "live"],
    "open": ["Opened.", "liquidation|Liquidation"],
    "watch": ["trade_update order.triggered", "trade_update trade.closed"],
    "read": ["No open positions.", "TRAILING_STOP", "realised PnL", "won, lost +[01], [01]", "█", "trade.closed"],
    "again": ["closed +trailing", "trade.closed", "invariants hold"],
    "tour-prices": ['"pair":"BTCUSDT"', '"code":"PAIR_NOT_FOUND"'],
    "tour-trade": ['"status":"success"', '"side":"short"', '"status":"partially_closed"'],
    "tour-analytics": ['"trades_opened":[1-9],"trades_closed":[1-9]', '"interval":"month"'],
    "tour-error": ['"code":"STOP_WRONG_SIDE"'],
    "tour-safety": [r'"refusals":\[\]', '"open_trades"', '"armed":true', "from 61,500 on"],
    "webhooks": ["verified evt_", "Delivered.", r"webhook\.test +evt_\d+ +delivered +1 +204", "POST http://"],
    "tour-halt": ["is halted now", '"code":"TRADING_HALTED"', "is active now"],
}
SECONDS = 180.0

pytestmark = pytest.mark.skipif(
    os.environ.get("TEST_MODE") == "full", reason="the quick start brings its own PostgreSQL, whatever the mode"
)


@dataclass(frozen=True)
class Checkout:
    """A place that looks like a fresh clone, and the environment of its reader."""

    folder: Path
    environment: dict[str, str]

    @property
    def health(self) -> str:
        return f"http://127.0.0.1:{self.environment['PORT']}/health/ready"


class Server:
    """Terminal 1: the commands of a step, the last of which serves."""

    def __init__(self, checkout: Checkout, commands: str, log: Path) -> None:
        self._checkout = checkout
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                ["bash", "-e", "-c", commands],
                cwd=checkout.folder,
                env=checkout.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        until_sync(self._answers, seconds=SECONDS)

    def press_ctrl_c(self) -> None:
        """Stop everything in the terminal, as Ctrl-C does; harmless where it has ended."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
            self._process.wait(SECONDS)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return httpx2.get(self._checkout.health).status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False


class Reader:
    """Terminal 2: one shell for all steps, since variables last from one to the next."""

    def __init__(self, checkout: Checkout) -> None:
        self._folder = checkout.folder
        self._shell = subprocess.Popen(
            ["bash", "-e"],
            cwd=checkout.folder,
            env=checkout.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def type(self, name: str, commands: str) -> str:
        """Run the commands of a step; what they showed. A command that fails ends the shell, and the test."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        script = self._folder / f".{name}.sh"
        script.write_text(commands)
        self._shell.stdin.write(f". ./{script.name} < /dev/null\necho '== done'\n")
        self._shell.stdin.flush()
        shown: list[str] = []
        for line in self._shell.stdout:
            if line.endswith("== done\n"):
                return "".join(shown) + line.removesuffix("== done\n")
            shown.append(line)
        raise AssertionError(f"{name} ended with {self._shell.wait()}:\n{''.join(shown)}")

    def leave(self) -> None:
        """Close the terminal."""
        self._shell.kill()
        self._shell.communicate()


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    """The project's files by links, in a folder of their own: the quick start writes into it."""
    with passable_folder("marqetfi-readme-") as folder:
        for entry in ROOT.iterdir():
            if entry.name not in {"sample.csv", ".env", ".data"}:
                (folder / entry.name).symlink_to(entry)
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        own = {
            "PORT": str(free_port()),
            "HOOK_PORT": str(free_port()),
            "MARQETFI_DATA_DIR": "data",
            "XDG_CONFIG_HOME": str(folder / "config"),
        }
        # A loaded machine fills later than a reader's.
        own["TRADE_WAIT_SECONDS"] = "30"
        # The hour of a funding may strike while the README is read.
        own["PAPER_FUNDING_SECONDS"] = "0"
        yield Checkout(folder, {**kept, **own})


@pytest.fixture
def reader(checkout: Checkout) -> Iterator[Reader]:
    reader = Reader(checkout)
    yield reader
    reader.leave()


@pytest.fixture
def terminal(checkout: Checkout) -> Iterator[list[Server]]:
    """The servers that were started; the last one is stopped at the end."""
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.press_ctrl_c()


def steps() -> list[tuple[str, str]]:
    return STEP.findall((ROOT / "README.md").read_text())


def test_every_step_is_known_and_none_is_gone() -> None:
    assert [name for name, _ in steps() if name in SERVERS] == ["server", "restart", "webhook-server"]
    assert {name for name, _ in steps() if name not in SERVERS} == SHOWN.keys()


def test_every_command_works_as_it_is_written(checkout: Checkout, reader: Reader, terminal: list[Server]) -> None:
    for name, commands in steps():
        if name in SERVERS:
            for server in terminal:
                server.press_ctrl_c()
            terminal.append(Server(checkout, commands, checkout.folder / f"{name}.log"))
            continue
        shown = reader.type(name, commands)
        for wanted in SHOWN[name]:
            assert re.search(wanted, shown), f"{name} shows no {wanted!r}:\n{shown}"
