"""Several API processes on one address: started, started again when one dies, stopped together."""

import signal
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from loguru import logger
from rich.text import Text

from app.cli.banner import announce, prices_of
from app.cli.console import say
from app.config.settings import Settings

LOOK_SECONDS = 0.5
STOP_SECONDS = 60.0
_spawning = get_context("spawn")


def run_processes(settings: Settings, count: int, serve: Callable[[], None]) -> None:
    """Run `serve` in so many processes until SIGINT or SIGTERM; exits as a process does that could not start."""
    stopping: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        stopping.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    announce(settings, f": {count} API processes. Ctrl-C stops them.", [prices_of(settings)])
    start = partial(_start, serve)
    processes = [start() for _ in range(count)]
    try:
        while not stopping:
            wait([process.sentinel for process in processes], timeout=LOOK_SECONDS)
            processes = [process if process.is_alive() else _again(process, start, stopping) for process in processes]
    finally:
        _stop(processes)
    say(Text("Stopped.", style="dim"))


def _start(serve: Callable[[], None]) -> SpawnProcess:
    process = _spawning.Process(target=serve)
    process.start()
    return process


def _again(ended: SpawnProcess, start: Callable[[], SpawnProcess], stopping: list[int]) -> SpawnProcess:
    """A process in place of one that ended; one that says it cannot start would not start again either."""
    if stopping:
        return ended
    if ended.exitcode is not None and ended.exitcode > 0:
        sys.exit(ended.exitcode)
    logger.error("API process {pid} ended ({code}); another is started", pid=ended.pid, code=ended.exitcode)
    return start()


def _stop(processes: list[SpawnProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(STOP_SECONDS)
        if process.is_alive():
            process.kill()
