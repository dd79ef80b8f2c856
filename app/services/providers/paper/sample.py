"""A made-up recording for a first look: two minutes of bitcoin that rise by 1 % and then fall by 1.5 %."""

from itertools import pairwise
from typing import TextIO

from app.services.providers.paper.random_walk import RandomWalk

START_MS = 1_767_614_400_000  # 2026-01-05T12:00:00Z
STEP_MS = 100
SPREAD_CENTS = 10
NOISE_CENTS = 40
# Milliseconds after the start, and the price in cents there; straight lines between, with a little noise.
COURSE = ((0, 6_000_000), (45_000, 6_060_000), (90_000, 5_970_000), (120_000, 5_976_000))


def write_sample(out: TextIO) -> None:
    """Write quotes (ts_ms,bid,ask), ten a second, the same ones each time.

    A trailing stop of 0.5 % on a long opened in its first half minute fires about a minute after the start.
    """
    noise = RandomWalk("sample")
    out.write("ts_ms,bid,ask\n")
    for (start, first), (end, last) in pairwise(COURSE):
        for ms in range(start, end, STEP_MS):
            straight = first + (last - first) * (ms - start) // (end - start)
            bid = straight + round(noise.value(ms // STEP_MS) * NOISE_CENTS)
            out.write(f"{START_MS + ms},{_dollars(bid)},{_dollars(bid + SPREAD_CENTS)}\n")


def _dollars(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"
