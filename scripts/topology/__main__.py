"""The command `scripts/cluster`: the whole product as plain processes, until Ctrl-C.

scripts/cluster [--apis N] [--engines N] [--workers N] [--port N] [--folder DIR] [NAME=VALUE ...]

NAME=VALUE are settings that every process gets. Everything is kept below the folder (.data/cluster): logs, database,
queues. What dies is started again.
"""

import argparse
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from loguru import logger
from rich.console import Console
from rich.live import Live
from rich.table import Table

from app.cli.console import screen
from app.core.clock import SystemClock
from app.core.json import rfc3339
from scripts.topology.cluster import Cluster, Member, Shape, running
from scripts.topology.servers import DISTRIBUTION, Server, ServerMissing

FOLDER = Path(".data/cluster")
LOOK_SECONDS = 1.0
LAST_PORT = 65_535


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """What the command line asks for."""
    shape = Shape()
    parser = argparse.ArgumentParser(
        prog="scripts/cluster",
        description="Run the whole product as plain processes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--apis", type=_apis, default=shape.apis, help="API processes")
    parser.add_argument("--engines", type=_count, default=shape.engines, help="order engines")
    parser.add_argument("--workers", type=_count, default=shape.workers, help="workers")
    parser.add_argument("--port", type=int, default=shape.first_port, help="the first API's port; others follow")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where everything is kept")
    parser.add_argument(
        "settings",
        nargs="*",
        type=_setting,
        metavar="NAME=VALUE",
        default=argparse.SUPPRESS,
        help="settings of every process",
    )
    asked = parser.parse_args(words, argparse.Namespace(settings=[]))
    highest = LAST_PORT - (Shape(apis=asked.apis, first_port=0).rabbitmq_port + DISTRIBUTION)
    if not 1 <= asked.port <= highest:
        parser.error(
            f"argument --port: {asked.port} is not between 1 and {highest}: RabbitMQ takes a port 20,000 above"
        )
    return asked


def _count(word: str) -> int:
    """A number of processes."""
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is not a number such as 2")
    return int(word)


def _apis(word: str) -> int:
    """A number of APIs; without any there is nobody to talk to."""
    count = _count(word)
    if not count:
        raise argparse.ArgumentTypeError("there must be an API, or nobody can ask for anything")
    return count


def _setting(word: str) -> tuple[str, str]:
    """A setting by its name."""
    name, sign, value = word.partition("=")
    if not name or not sign:
        raise argparse.ArgumentTypeError(f"{word!r} is not a setting such as LOG_LEVEL=DEBUG")
    return name, value


def table(cluster: Cluster) -> Table:
    """Each process, how it is, and where."""
    made = Table(title="MarqetFi cluster (Ctrl-C stops it)")
    for heading in ("process", "state", "where", "pid", "starts"):
        # What is to be copied must not be cut.
        made.add_column(heading, overflow="fold")
    for server in cluster.servers:
        _add(made, server, "" if server is cluster.postgres else server.url)
    for member in cluster.members.values():
        _add(made, member, member.url if member.port is not None else "")
    return made


def _add(made: Table, process: Server | Member, where: str) -> None:
    pid = running(process)
    made.add_row(process.name, _state(process), where, str(pid or ""), str(process.starts))


def guide(shape: Shape, folder: Path, database_url: str) -> str:
    """Where the logs are, and how a command at another terminal is given the cluster's database and API."""
    settings = f"PORT={shape.first_port} DATABASE_URL={shlex.quote(database_url)}"
    return (
        f"logs      {folder.relative_to(Path.cwd(), walk_up=True)}/NAME.log\n"
        f"commands  {settings} marqetfi doctor\n"
        "          and so with marqetfi admin and marqetfi trading-state"
    )


def _state(process: Server | Member) -> str:
    if not process.is_alive:
        return "[red]down[/]"
    return "[green]up[/]" if process.is_ready else "[yellow]starting[/]"


def main(words: Sequence[str]) -> int:
    """Run until told to stop; 1 where it cannot start."""
    asked, console = arguments(words), screen()
    shape = Shape(asked.apis, asked.engines, asked.workers, asked.port)
    cluster = Cluster(asked.folder, shape, dict(asked.settings))
    if not console.is_terminal:
        # There no table is kept up to date.
        cluster.tell = partial(_tell, console)
    is_told = threading.Event()
    # Else a line would be written into the table.
    sink = partial(console.print, end="", markup=False, soft_wrap=True)
    logger.configure(handlers=[{"sink": sink, "format": "{message}"}])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: is_told.set())
    try:
        with console.status("Starting PostgreSQL, Redis and RabbitMQ"):
            cluster.start()
        _show(cluster, console, is_told)
    except (ServerMissing, RuntimeError) as error:
        console.print(f"error: {error}", style="red")
        return 1
    finally:
        with console.status("Stopping"):
            cluster.stop()
    console.print("Stopped.", style="dim")
    return 0


def _tell(console: Console, said: str) -> None:
    console.print(f"{rfc3339(SystemClock().now())} {said}", soft_wrap=True, markup=False)


def _show(cluster: Cluster, console: Console, is_told: threading.Event) -> None:
    """Keep a table on a terminal up to date; elsewhere print it once, when every process is ready.

    What happens there afterwards is told line by line.
    """
    # A line that is to be copied is the terminal's to break.
    told = guide(cluster.shape, cluster.folder, cluster.postgres.url)
    console.print(told, soft_wrap=True, markup=False)
    if console.is_terminal:
        with Live(table(cluster), console=console, auto_refresh=False) as live:
            while not is_told.wait(LOOK_SECONDS):
                live.update(table(cluster), refresh=True)
        return
    while not all(member.is_ready for member in cluster.members.values()) and not is_told.wait(LOOK_SECONDS):
        continue
    console.print(table(cluster))
    is_told.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
