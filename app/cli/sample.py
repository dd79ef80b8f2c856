"""A recording to try the replay with."""

import sys

from app.services.providers.registry import write_sample


def sample() -> None:
    """Write a made-up recording of bitcoin as CSV: marqetfi prices sample > sample.csv.

    Play it with PAPER_FEED=replay PAPER_REPLAY=BTCUSDT=sample.csv: two minutes that rise by 1 % and fall by 1.5 %.
    """
    write_sample(sys.stdout)
