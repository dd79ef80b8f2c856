"""The command `scripts/cluster`: the whole product as plain processes, until Ctrl-C.

scripts/cluster [--apis N] [--engines N] [--workers N] [--port N] [--folder DIR] [NAME=VALUE ...]

NAME=VALUE are settings that every process gets. Everything is kept below the folder (.data/cluster): logs, database,
queues. What dies is started again.
"""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from scripts.topology.cluster import Cluster, Member, Shape
from scripts.topology.servers import ServerMissing

FOLDER = Path(".data/cluster")
LOOK_SECONDS = 1.0


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """What the command line asks for."""
    shape = Shape()
    parser = argparse.ArgumentParser(prog="scripts/cluster", description="Run the whole product as plain processes.")
    parser.add_argument("--apis", type=int, default=shape.apis, help="API processes")
    parser.add_argument("--engines", type=int, default=shape.engines, help="order engines")
    parser.add_argument("--workers", type=int, default=shape.workers, help="workers")
    parser.add_argument("--port", type=int, default=shape.first_port, help="the first API's port; others follow")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where everything is kept")
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE", help="settings of every process")
    return parser.parse_args(words)


def table(cluster: Cluster) -> Table:
    """Each process, how it is, and where."""
    made = Table("process", "state", "where", "pid", "starts", "log", title="MarqetFi cluster (Ctrl-C stops it)")
    for server in cluster.servers:
        made.add_row(server.name, "[green]up[/]", server.url, "", "", "")
    for member in cluster.members.values():
        where = member.url if member.port is not None else ""
        log = str(member.log.relative_to(Path.cwd(), walk_up=True))
        made.add_row(member.name, _state(member), where, str(member.pid or ""), str(member.starts), log)
    return made


def _state(member: Member) -> str:
    if not member.is_alive:
        return "[red]down[/]"
    return "[green]up[/]" if member.is_ready else "[yellow]starting[/]"


def main(words: Sequence[str]) -> int:
    """Run until told to stop; 1 where it cannot start."""
    asked, console = arguments(words), Console()
    settings = dict(word.partition("=")[::2] for word in asked.settings)
    cluster = Cluster(asked.folder, Shape(asked.apis, asked.engines, asked.workers, asked.port), settings)
    is_told = threading.Event()
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
    return 0


def _show(cluster: Cluster, console: Console, is_told: threading.Event) -> None:
    """Keep a table on a terminal up to date; elsewhere print it once, when every process is ready."""
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
