"""The beat: asks for the jobs that repeat, and ends when it is told to, whatever it waits for."""

import os
import signal
from threading import Event, Thread
from types import FrameType

from celery import Celery
from celery.apps.beat import Beat
from celery.beat import Service

from app.config.settings import Settings
from app.core.celery_queue import make_celery
from app.tasks.schedule import beat_schedule

# How often it looks whether it is to end; Celery itself would sleep until the next job is due.
LOOK_SECONDS = 1
# How long it may go on sending then. A broker that does not answer holds it for longer; nothing is lost with it.
GRACE_SECONDS = 5.0
STOPPING = (signal.SIGTERM, signal.SIGINT)


class StoppableBeat(Beat):
    """Sends what it is sending, then ends; where that takes too long, or it is told to a second time, it ends at once.

    Celery's own closes its connection within the handler of the signal; where it was reading from that connection, it
    waits for an answer that was half read already, for ever.
    """

    def run(self) -> None:
        """Ask for jobs until told to end."""
        self._has_ended = Event()
        super().run()
        self._has_ended.set()

    def install_sync_handler(self, service: Service) -> None:
        """Let SIGTERM and SIGINT end the service after its round."""

        def end(number: int) -> None:
            service.stop()
            if not self._has_ended.wait(GRACE_SECONDS):
                os.kill(os.getpid(), number)

        def stop(number: int, _frame: FrameType | None) -> None:
            for each in STOPPING:
                signal.signal(each, signal.SIG_DFL)
            # In a thread, since it takes locks and logs, and so may what was interrupted.
            Thread(target=end, args=(number,), daemon=True).start()

        for each in STOPPING:
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
