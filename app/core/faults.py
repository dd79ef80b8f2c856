"""Fault points: named places between two steps where FAULTS may kill, delay or repeat; nothing at all without it."""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn

# Every point of the product, with what has just happened there.
POINTS = {
    "open.committed": "an opening order and its intent are written, nothing is sent",
    "close.committed": "a close and its intent are written, nothing is sent",
    "cancel.committed": "the cancel of an entry is written, nothing is sent",
    "intent.taken": "an intent is ours to send, the venue has not heard of it",
    "intent.answered": "the venue has answered, nothing is booked",
    "intent.booked": "the venue's word is booked",
    "venue.committed": "the paper venue has done what it was asked, and has not answered",
    "match.committed": "the paper venue has booked what a tick did, and has told nobody",
    "match.told": "what a tick did at the venue is booked here too",
    "claim.begun": "a tick has fired exits, none is claimed",
    "claim.committed": "exits are claimed, their closes are not sent",
    "checkpoint.begun": "a state is ready to be made durable",
    "checkpoint.committed": "a checkpoint is durable",
    "settlement.asked": "the venue was asked about an unknown outcome, its word is not booked",
    "idempotency.claimed": "a request owns its key, and has done nothing",
    "idempotency.done": "a request had its effect, its answer is not stored",
    "idempotency.stored": "an answer is stored, and not sent",
    "relay.read": "events are read from the log, and neither marked nor told",
    "relay.told": "events are marked and told",
    "webhook.claimed": "webhook deliveries are ours for the length of a lease, none is sent",
    "webhook.answered": "an endpoint has answered, its word is not recorded",
    "webhook.recorded": "what became of webhook deliveries is recorded",
}


class FaultInjected(Exception):
    """What a fault point raises when it is told to."""


class FaultsInvalid(ValueError):
    """An entry of FAULTS that means nothing."""


class Action(StrEnum):
    """What can happen at a fault point."""

    KILL = "kill"
    DELAY = "delay"
    RAISE = "raise"
    REPEAT = "repeat"


@dataclass(slots=True)
class Fault:
    """One entry of FAULTS: `point:action`, then any of `nth=3` (only the third pass), `p=0.01`, `s=0.2` (seconds).

    The point may be `*`. Without `nth` and `p` it happens at every pass.
    """

    point: str
    action: Action
    nth: int | None = None
    probability: float = 1.0
    seconds: float = 0.1
    passes: int = field(default=0, init=False)

    def is_due(self, point: str, chance: random.Random) -> bool:
        """Whether it happens at this pass of a point; counts the pass."""
        if self.point not in ("*", point):
            return False
        self.passes += 1
        if self.nth is not None:
            return self.passes == self.nth
        return self.probability >= 1 or chance.random() < self.probability


type Handler = Callable[[str], Awaitable[bool]]

_handler: Handler | None = None


async def buggify(point: str) -> bool:
    """Let what FAULTS says happen here; True asks the caller to do its last step once more."""
    return await _handler(point) if _handler is not None else False


def install(handler: Handler | None) -> None:
    """Let `handler` decide what happens at each point; None: nothing does."""
    global _handler  # noqa: PLW0603 - one per process: there is nothing to hand around where there are no faults
    _handler = handler


def parse(entries: Sequence[str]) -> list[Fault]:
    """The faults of FAULTS' entries; FaultsInvalid says which is wrong and how."""
    return [_fault(entry) for entry in entries]


def injector(faults: Sequence[Fault], seed: int) -> Handler:
    """A handler that lets faults happen: a kill is SIGKILL of this process, a delay holds up this task alone."""
    chance = random.Random(seed)  # noqa: S311 - faults shall come again with their seed

    async def inject(point: str) -> bool:
        is_again = False
        for fault in faults:
            if not fault.is_due(point, chance):
                continue
            match fault.action:
                case Action.KILL:
                    _die()
                case Action.DELAY:
                    await asyncio.sleep(fault.seconds)
                case Action.RAISE:
                    raise FaultInjected(point)
                case Action.REPEAT:
                    is_again = True
        return is_again

    return inject


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit(signal.SIGKILL)


def _fault(entry: str) -> Fault:
    point, _, rest = entry.partition(":")
    action, *options = rest.split(":")
    if point != "*" and point not in POINTS:
        raise FaultsInvalid(f"{point} is no fault point; there is {', '.join(POINTS)}")
    if action not in list(Action):
        raise FaultsInvalid(f"{entry}: {action or 'nothing'} is none of {', '.join(Action)}")
    fault = Fault(point, Action(action))
    for option in options:
        name, _, value = option.partition("=")
        try:
            attribute, convert = _OPTIONS[name]
            setattr(fault, attribute, convert(value))
        except (KeyError, ValueError):
            raise FaultsInvalid(f"{entry}: {option} is none of nth=N, p=0.1, s=0.5") from None
    return fault


_OPTIONS: dict[str, tuple[str, Callable[[str], float]]] = {
    "nth": ("nth", int),
    "p": ("probability", float),
    "s": ("seconds", float),
}
