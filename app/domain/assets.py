"""Symbols: which pair a person means by BTCUSDT, btc-usd, BTC/USD or BTC, by a table and never by guessing."""

import difflib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol

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


def normalise(text: str) -> str:
    """The form in which symbols are compared: upper case, without separators."""
    return text[:LONGEST_SYMBOL].upper().translate(_SEPARATORS)


class SymbolTable[K]:
    """The pairs of one venue by every name they have; answers with their keys.

    A name that two pairs share belongs to the one whose own symbol it is, else whose base + quote, else whose alias
    it is, active ones first; a base is never a name of its own where several active pairs trade it.
    """

    def __init__(self, active: Mapping[K, Listed], inactive: Mapping[K, Listed] | None = None) -> None:
        listed = sorted(active.items(), key=lambda item: item[1].symbol)
        self._symbols = [pair.symbol for _, pair in listed]
        self._by_base: dict[str, list[K]] = defaultdict(list)
        for key, pair in listed:
            self._by_base[normalise(pair.base)].append(key)
        listed += (inactive or {}).items()
        self._keys = {
            normalise(name): key
            for names_of in (_aliases, _base_and_quote, _symbol)
            for key, pair in reversed(listed)
            for name in names_of(pair)
        }

    def find(self, text: str) -> list[K]:
        """The pair of that name, or else every active pair with that base; empty when nothing has the name."""
        name = normalise(text)
        return [self._keys[name]] if name in self._keys else list(self._by_base.get(name, ()))

    def near(self, text: str) -> list[str]:
        """Up to five symbols that look like the text, best first."""
        return difflib.get_close_matches(normalise(text), self._symbols, n=NEAR_COUNT, cutoff=0.5)


def _aliases(pair: Listed) -> Sequence[str]:
    return pair.aliases


def _base_and_quote(pair: Listed) -> Sequence[str]:
    return [pair.base + pair.quote]


def _symbol(pair: Listed) -> Sequence[str]:
    return [pair.symbol]
