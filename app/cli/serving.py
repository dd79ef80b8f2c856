"""`marqetfi serve`: the API, its loops and, where no other is given, its own database, in one process."""

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from loguru import logger
from rich.text import Text
from uvicorn.importer import import_from_string
from uvicorn.supervisors import ChangeReload

from app.api.serving import SERVER_OPTIONS
from app.cli.banner import announce, prices_of
from app.cli.client import url_of
from app.cli.console import say, show_failure
from app.cli.environment import load_settings
from app.cli.failure import Failure
from app.cli.offline import check_migrations, embedded_failure
from app.cli.processes import run_processes
from app.config.settings import Settings
from app.core import faults, logging
from app.core.embedded_postgres import DataDirInUse, EmbeddedPostgresError
from app.core.faults import FaultsInvalid
from app.core.garbage import spare_what_lives
from app.core.process_lock import ProcessLock
from app.core.security import KEY_FILE
from app.services.providers.faults import parse_rates
from app.services.providers.registry import ReplayFileError, read_recording

SOURCES = Path(__file__).resolve().parents[1]
# Servers name what they serve by a string: this script stands beside the application, not on top of it.
APPLICATION = "app.main:create_app"


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on, instead of HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port, instead of PORT; 0: any free one.")] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Start again when a source file changes.")] = False,
    workers: Annotated[int, typer.Option(envvar="WEB_CONCURRENCY", min=1, help="API processes.")] = 1,
) -> None:
    """Run the API, and everything it needs."""
    if host is not None:
        os.environ["HOST"] = host
    if port is not None:
        os.environ["PORT"] = str(port)
    settings = load_settings()
    _check_workers(settings, workers, reload=reload)
    try:
        listener = _bind(settings.host, settings.port)
    except OSError as error:
        raise _not_bound(settings, error) from None
    with listener:
        if reload:
            # The child reads the settings again.
            config = uvicorn.Config(APPLICATION, factory=True, reload=True, reload_dirs=[str(SOURCES)], log_config=None)
            ChangeReload(config, target=run_child, sockets=[listener]).run()
        elif workers > 1:
            run_processes(settings, workers, partial(run_child, [listener], announces=False))
        else:
            run([listener])


def _check_workers(settings: Settings, workers: int, *, reload: bool) -> None:
    """Failure for several API processes that would not be one API."""
    if workers == 1:
        return
    if settings.redis_url is None or settings.database_url is None:
        raise typer.BadParameter(
            f"{workers} API processes would not share rate limits, cache and live updates without REDIS_URL and "
            "DATABASE_URL; run one (WEB_CONCURRENCY=1)"
        )
    if reload:
        raise typer.BadParameter("--reload runs one process; leave out --workers and WEB_CONCURRENCY")


def run(sockets: list[socket.socket] | None, *, announces: bool = True) -> None:
    """Serve on bound sockets until SIGINT or SIGTERM; Failure where the server cannot start."""
    settings = load_settings()
    logging.configure(level=settings.log_level, style=settings.log_format)
    check_start(settings)
    is_first = settings.database_url is None and not (settings.marqetfi_data_dir / KEY_FILE).exists()
    if is_first:
        folder = settings.marqetfi_data_dir.resolve()
        say(Text(f"First start: making a PostgreSQL of our own in {folder}, and its tables. This takes a moment."))
    if settings.database_url is not None:
        check_migrations(settings.database_url.get_secret_value())
    server = Server(settings, partial(_announce, settings, is_first=is_first) if announces else _log_listening)
    spare_what_lives()
    # Once it has stopped, the server raises again what it was told to stop by: either signal is the end asked for.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with start_failures(), suppress(KeyboardInterrupt):
        server.run(sockets)
    if announces:
        say(Text("Stopped.", style="dim"))


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """Serve on a free port of this machine for the length of the block; the url, once it answers."""
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = Server(settings, listening.set_result)
    with start_failures(), _bind("127.0.0.1", 0) as listener:
        running = asyncio.create_task(server.serve([listener]))
        either: tuple[asyncio.Future[Any], ...] = (running, listening)
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not listening.done():
                await running
                raise Failure("INTERRUPTED", "The server was told to stop before it answered.")
            yield listening.result()
        finally:
            server.should_exit = True
            await running


@contextmanager
def start_failures() -> Iterator[None]:
    """Say what keeps a server from starting as the Failure of a command."""
    try:
        yield
    except (DataDirInUse, EmbeddedPostgresError) as error:
        raise embedded_failure(error) from None
    except FaultsInvalid as error:
        raise Failure("FAULTS_INVALID", f"FAULTS or VENUE_FAULTS cannot be used: {error}.") from None
    except ReplayFileError as error:
        details = {"file": error.file, "line": error.line, "reason": error.reason}
        told = {name: value for name, value in details.items() if value is not None}
        raise Failure("REPLAY_FILE_INVALID", f"{error}.", hint="PAPER_REPLAY names the files.", details=told) from None


def run_child(sockets: list[socket.socket] | None, *, announces: bool = True) -> None:
    """Serve in a process that another one has started; a failure is its exit code."""
    try:
        run(sockets, announces=announces)
    except Failure as failure:
        show_failure(failure, as_json=False)
        sys.exit(failure.exit_code)


def check_start(settings: Settings) -> None:
    """Failure for faults that mean nothing and for a recording that cannot be played.

    That must not cost the start of a database first.
    """
    with start_failures():
        faults.parse(settings.faults)
        parse_rates(settings.venue_faults)
        if settings.paper_feed == "replay":
            read_recording(settings.paper_replay)


class Server(uvicorn.Server):
    """A server whose application is started and stopped here, so that a failure to start is an exception of ours.

    `on_listening` is told the url, once it answers.
    """

    def __init__(self, settings: Settings, on_listening: Callable[[str], None]) -> None:
        self._app = import_from_string(APPLICATION)(settings)
        options = {**SERVER_OPTIONS, "lifespan": "off", "forwarded_allow_ips": settings.forwarded_allow_ips}
        super().__init__(uvicorn.Config(self._app, workers=1, log_level="warning", **options))
        self._on_listening = on_listening
        self._life = AsyncExitStack()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen and say where."""
        async with AsyncExitStack() as undo:
            await undo.enter_async_context(self._app.router.lifespan_context(self._app))
            await super().startup(sockets)
            self._life = undo.pop_all()
        for listener in sockets or []:
            host, port = listener.getsockname()[:2]
            self._on_listening(url_of(host, port))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Send WebSocket clients elsewhere, end requests, then stop the application."""
        await self._app.state.container.websockets.shutdown()
        await super().shutdown(sockets)
        await self._life.aclose()


def _bind(host: str, port: int) -> socket.socket:
    """A socket on an address, not yet listening; OSError where it cannot be had."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    # Named in full, TCP is known to asyncio as such, and answers are not held back by 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _not_bound(settings: Settings, error: OSError) -> Failure:
    """Why an address cannot be had; a server of ours on the same data dir is the likeliest reason."""
    if error.errno == errno.EADDRINUSE and settings.database_url is None and settings.marqetfi_data_dir.is_dir():
        lock = ProcessLock(settings.marqetfi_data_dir.resolve() / "lock")
        try:
            lock.acquire()
        except DataDirInUse as in_use:
            return embedded_failure(in_use)
        lock.release()
    return Failure(
        "ADDRESS_NOT_AVAILABLE",
        f"Cannot listen on {settings.host} port {settings.port}: {error.strerror}.",
        hint="Choose another by PORT=8001 or --port 8001; 0 takes any free one.",
    )


def _log_listening(url: str) -> None:
    logger.info("listening on {url}", url=url)


def _announce(settings: Settings, url: str, *, is_first: bool) -> None:
    _log_listening(url)
    data_dir = settings.marqetfi_data_dir.resolve()
    prices = prices_of(settings)
    facts = [("serves", f"/api/v1 (the API), /docs, /health; data dir {data_dir}"), prices]
    if is_first:
        facts = [
            ("API", f"{url}/api/v1"),
            ("docs", f"{url}/docs"),
            ("health", f"{url}/health"),
            ("data dir", str(data_dir)),
            prices,
            ("next", f"in another terminal: marqetfi register --url {url}"),
        ]
    announce(settings, Text.assemble(" at ", (url, "bold"), ". Ctrl-C stops it."), facts)
