"""A Gaussian random walk that can be asked for any of its steps without walking there."""

import hashlib
import math
from functools import lru_cache
from statistics import NormalDist

_STANDARD = NormalDist()
_HALF_BITS = 52
REMEMBERED = 256


class RandomWalk:
    """A walk that starts at 0 and takes independent standard normal steps, the same ones for the same name.

    It is the Brownian motion of Levy's construction, seen at whole instants: known at powers of two, and between
    two known instants by halving. A value costs as many halvings as its step has bits, successive ones about two.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.value = lru_cache(maxsize=REMEMBERED)(self._value)

    def _value(self, step: int) -> float:
        """Where the walk stands at a step >= 0."""
        if step == 0:
            return 0.0
        lowest = step & -step
        if step == lowest:
            before = step // 2
            return self.value(before) + math.sqrt(step - before) * self._normal(step)
        middle = (self.value(step - lowest) + self.value(step + lowest)) / 2
        return middle + math.sqrt(lowest / 2) * self._normal(step)

    def _normal(self, step: int) -> float:
        """A standard normal number that belongs to the step."""
        digest = hashlib.blake2b(f"{self._name}/{step}".encode(), digest_size=8).digest()
        uniform = ((int.from_bytes(digest) >> (64 - _HALF_BITS)) + 0.5) / 2**_HALF_BITS
        return _STANDARD.inv_cdf(uniform)
