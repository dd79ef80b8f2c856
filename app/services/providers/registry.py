"""The venues that exist: the one place that knows their packages."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.clock import Clock
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.providers.feed import PriceFeed
from app.services.providers.paper.catalogue import CATALOGUE
from app.services.providers.paper.provider import PairDirectory, PaperProvider, PriceBoard
from app.services.providers.paper.replay_feed import ReplayFeed
from app.services.providers.paper.replay_files import ReplayFileError, read_recording
from app.services.providers.paper.sample import write_sample
from app.services.providers.paper.simulated_feed import SimulatedFeed
from app.services.providers.paper.terms import PaperTerms

__all__ = [
    "PaperFeedChoice",
    "PaperTerms",
    "ReplayFileError",
    "paper_feed",
    "paper_provider",
    "read_recording",
    "write_sample",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperFeedChoice:
    """Which prices the paper venue trades on; `replay` holds SYMBOL=file entries, empty for simulated prices."""

    seed: int
    hz: float
    replay: Sequence[str]
    speed: float
    starts_over: bool


def paper_feed(choice: PaperFeedChoice, clock: Clock) -> PriceFeed:
    """The paper venue's prices; ReplayFileError, before anything starts, for a file that cannot be played."""
    if choice.replay:
        recording = read_recording(choice.replay)
        return ReplayFeed(recording, speed=choice.speed, starts_over=choice.starts_over, clock=clock)
    return SimulatedFeed(CATALOGUE, seed=choice.seed, hz=choice.hz, clock=clock)


def paper_provider(
    uow: UnitOfWorkFactory, board: PriceBoard, directory: PairDirectory, clock: Clock, terms: PaperTerms
) -> PaperProvider:
    """The paper venue."""
    return PaperProvider(uow, board, directory, clock, terms)
