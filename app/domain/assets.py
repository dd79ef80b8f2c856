"""Symbols: which pair a person means by BTCUSDT, btc-usd, BTC/USD or BTC, by a table and never by guessing."""

import difflib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol

from app.domain.enums import Category

LONGEST_SYMBOL = 40
NEAR_COUNT = 5
_SEPARATORS = str.maketrans("", "", "-/_:. ")


class Listed(Protocol):
    """What a symbol table asks of a pair."""

    @property
    def symbol(self) -> str:
        """Its name at its venue: BTCUSDT."""
        ...

    @property
    def base(self) -> str:
        """What is traded: BTC."""
        ...

    @property
    def quote(self) -> str:
        """What its price is in: USD."""
        ...

    @property
    def aliases(self) -> Sequence[str]:
        """Other names of the whole pair."""
        ...

    @property
    def category(self) -> Category:
        """Its asset class."""
        ...

    @property
    def is_active(self) -> bool:
        """Whether the venue lists it now."""
        ...


def normalise(text: str) -> str:
    """The form in which symbols are compared: upper case, without separators."""
    return text[:LONGEST_SYMBOL].upper().translate(_SEPARATORS)


class SymbolTable[P: Listed]:
    """The pairs of one venue by every name they have.

    A name that two pairs share belongs to the one whose own symbol it is, else whose base + quote, else whose alias
    it is; a base is never a name of its own where several active pairs trade it.
    """

    def __init__(self, pairs: Iterable[P]) -> None:
        listed = sorted(pairs, key=lambda pair: (not pair.is_active, pair.symbol))
        self._pairs: dict[str, P] = {}
        self._by_base: dict[str, list[P]] = defaultdict(list)
        for pair in listed:
            self._pairs.setdefault(normalise(pair.symbol), pair)
        for pair in listed:
            self._pairs.setdefault(normalise(pair.base + pair.quote), pair)
        for pair in listed:
            for alias in pair.aliases:
                self._pairs.setdefault(normalise(alias), pair)
            if pair.is_active:
                self._by_base[normalise(pair.base)].append(pair)
        self._names = sorted({pair.symbol for pair in listed if pair.is_active})

    def find(self, text: str) -> list[P]:
        """The pair of that name, or else every active pair with that base; empty when nothing has the name."""
        key = normalise(text)
        pair = self._pairs.get(key)
        return [pair] if pair is not None else list(self._by_base.get(key, ()))

    def near(self, text: str) -> list[str]:
        """Up to five symbols that look like the text, best first."""
        return near_names(text, self._names)


def near_names(text: str, names: Sequence[str]) -> list[str]:
    """Up to five of the names that look like the text, best first."""
    return difflib.get_close_matches(normalise(text), names, n=NEAR_COUNT, cutoff=0.5)
