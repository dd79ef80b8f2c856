"""The end of the beat."""

import os
import signal
from collections.abc import Iterator

import pytest
from celery.beat import Scheduler

from app.core.celery_queue import make_celery
from app.tasks.beat import StoppableBeat

rounds: list[str] = []


class InterruptedScheduler(Scheduler):
    """Is told to end while it sends; nothing leaves the process."""

    def tick(self, *_: object, **__: object) -> float:
        """Begin to send, hear the signal, send to the end."""
        if not rounds:
            os.kill(os.getpid(), signal.SIGTERM)
            # The handler has run by now; what it began may take another round.
            rounds.append("sent")
        return 0.001

    def close(self) -> None:
        """Tell that the connection is closed."""
        rounds.append("closed")


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    kept = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    rounds.clear()
    yield
    for each, handler in kept.items():
        signal.signal(each, handler)


def test_a_beat_that_is_told_to_end_sends_what_it_is_sending_and_then_closes_its_connection() -> None:
    app = make_celery("memory://", "beat")
    StoppableBeat(app=app, scheduler=f"{__name__}:InterruptedScheduler", quiet=True).run()
    assert rounds == ["sent", "closed"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
