"""The end of the beat."""

import os
import signal
import subprocess
import sys
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


class StuckScheduler(Scheduler):
    """Waits for a broker that does not answer."""

    def tick(self, *_: object, **__: object) -> float:
        """Tell that it waits; never return."""
        sys.stdout.write("waiting\n")
        sys.stdout.flush()
        while True:
            signal.pause()


STUCK = f"""
from app.core.celery_queue import make_celery
from app.tasks import beat

beat.GRACE_SECONDS = 0.1
beat.StoppableBeat(app=make_celery("memory://", "beat"), scheduler="{__name__}:StuckScheduler", quiet=True).run()
"""


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_beat_that_waits_for_a_broker_ends_all_the_same(told: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, text=True) as beat:
        assert beat.stdout is not None
        assert beat.stdout.readline() == "waiting\n"
        beat.send_signal(told)
        try:
            assert beat.wait(60) == -told
        finally:
            beat.kill()
