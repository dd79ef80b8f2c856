"""`marqetfi worker` and `marqetfi beat`: jobs by way of RabbitMQ, and when those that repeat are asked for."""

from celery import Celery
from rich.text import Text

from app.cli.banner import announce
from app.cli.connections import broker_failure
from app.cli.console import say
from app.cli.environment import load_settings
from app.cli.failure import Failure
from app.cli.offline import check_migrations
from app.cli.serving import check_start, start_failures
from app.config.settings import Settings
from app.core import logging
from app.core.celery_queue import BROKER_FAILURES, declare
from app.core.garbage import spare_what_lives
from app.tasks.beat import beat_app, run_beat
from app.tasks.celery_app import WorkerRuntime, worker_app


def worker() -> None:
    """Do the jobs that RabbitMQ hands out, and relay events."""
    settings, broker_url = _settings("worker")
    check_start(settings)
    if settings.database_url is not None:
        check_migrations(settings.database_url.get_secret_value())
    runtime = WorkerRuntime(settings)
    app = worker_app(broker_url, settings, runtime)
    _declare(app, settings)
    spare_what_lives()
    with start_failures():
        runtime.start()
    announce(settings, " worker. Ctrl-C stops it.")
    options = ["--pool", "threads", "--concurrency", str(settings.worker_jobs), "--queues", settings.broker_queue]
    quiet = ["--without-gossip", "--without-mingle", "--loglevel", settings.log_level]
    try:
        app.worker_main(["--quiet", "worker", *options, *quiet])
    finally:
        runtime.stop()
    say(Text("Stopped.", style="dim"))


def beat() -> None:
    """Ask RabbitMQ for the jobs that repeat."""
    settings, broker_url = _settings("beat")
    app = beat_app(broker_url, settings)
    _declare(app, settings)
    announce(settings, " beat. Ctrl-C stops it.")
    run_beat(app, settings.log_level)
    say(Text("Stopped.", style="dim"))


def _settings(command: str) -> tuple[Settings, str]:
    """The settings, and the broker that they name."""
    settings = load_settings()
    logging.configure(level=settings.log_level, style=settings.log_format)
    if settings.broker_url is None:
        raise Failure(
            "BROKER_URL_MISSING",
            f"A {command} needs BROKER_URL: without it `marqetfi serve` and `marqetfi engine` do the jobs themselves.",
            hint="BROKER_URL=amqp://user:password@host:5672/vhost",
        )
    return settings, settings.broker_url.get_secret_value()


def _declare(app: Celery, settings: Settings) -> None:
    """Make our queues; Failure where RabbitMQ does not answer, or has others of these names."""
    try:
        declare(app, settings.broker_queue)
    except BROKER_FAILURES as error:
        raise broker_failure(error) from None
