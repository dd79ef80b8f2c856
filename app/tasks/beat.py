"""The beat: asks for the jobs that repeat, and ends when it is told to, whatever it is in the middle of."""

import signal
from threading import Thread
from types import FrameType

from celery import Celery
from celery.apps.beat import Beat
from celery.beat import Service

from app.config.settings import Settings
from app.core.celery_queue import make_celery
from app.tasks.schedule import beat_schedule

# How often it looks whether it is to end; Celery itself would sleep until the next job is due.
LOOK_SECONDS = 1


class StoppableBeat(Beat):
    """Sends what it is sending, then ends.

    Celery's own closes its connection within the handler of the signal; where it was reading from that connection, it
    waits for an answer that was half read already, for ever.
    """

    def install_sync_handler(self, service: Service) -> None:
        """Let SIGTERM and SIGINT end the service after its round; a second one of them ends the process at once."""

        def stop(number: int, _frame: FrameType | None) -> None:
            signal.signal(number, signal.SIG_DFL)
            # In a thread, since it takes locks and logs, and so may what was interrupted.
            Thread(target=service.stop).start()

        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, stop)


def beat_app(broker_url: str, settings: Settings) -> Celery:
    """The application of the beat, which asks for the periodic jobs."""
    app = make_celery(broker_url, settings.broker_queue)
    app.conf.beat_schedule = beat_schedule(settings)
    return app


def run_beat(app: Celery, log_level: str) -> None:
    """Ask for jobs until told to end."""
    StoppableBeat(
        app=app, max_interval=LOOK_SECONDS, scheduler="celery.beat:Scheduler", loglevel=log_level, quiet=True
    ).run()
