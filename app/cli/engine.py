"""`marqetfi engine`: prices, the order engine and settlement in a process of their own, without the API."""

import asyncio
import signal
from contextlib import suppress

import uvloop
from rich.text import Text

from app.cli.banner import announce, prices_of
from app.cli.console import say
from app.cli.environment import load_settings
from app.cli.failure import Failure
from app.cli.offline import check_migrations
from app.cli.serving import check_start, start_failures
from app.config.settings import Settings
from app.core import logging
from app.core.garbage import spare_what_lives
from app.core.supervision import Supervisor
from app.tasks.background import Role, parts_of


def engine() -> None:
    """Run prices, the order engine and settlement, without the API."""
    settings = load_settings()
    logging.configure(level=settings.log_level, style=settings.log_format)
    if settings.database_url is None:
        raise Failure(
            "DATABASE_URL_MISSING",
            "An engine of its own needs DATABASE_URL: the embedded database belongs to one server.",
            hint="`marqetfi serve` runs an engine too.",
        )
    check_start(settings)
    check_migrations(settings.database_url.get_secret_value())
    spare_what_lives()
    with start_failures(), suppress(KeyboardInterrupt):
        uvloop.run(run(settings))
    say(Text("Stopped.", style="dim"))


async def run(settings: Settings) -> None:
    """Run every loop until SIGINT or SIGTERM."""
    is_told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, is_told.set)
    async with parts_of(Role.ENGINE, settings) as container:
        supervisor = Supervisor(container.loops)
        supervisor.start()
        announce(settings, " order engine. Ctrl-C stops it.", [prices_of(settings)])
        try:
            await is_told.wait()
        finally:
            await supervisor.stop()
