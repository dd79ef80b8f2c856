"""How a trade is named on the command line, and the pair of a trade or order in a table."""

from collections.abc import Iterable, Iterator
from itertools import chain

import typer

from app.cli.client import ApiClient, Document
from app.cli.failure import Failure

PAGE = 200


def find_trade(client: ApiClient, words: list[str]) -> tuple[int, int]:
    """The (pair id, index) of the trade that is named by both, by its id, or by the asset of the only open position."""
    if len(words) == 2 and all(word.isdigit() for word in words):
        return int(words[0]), int(words[1])
    if len(words) != 1:
        raise typer.BadParameter("name the trade by PAIR_ID INDEX, by its id, or by its asset")
    positions: list[Document] = client.get("/trading/positions").data["positions"]
    found = _by_id(client, positions, int(words[0])) if words[0].isdigit() else _by_asset(positions, words[0])
    return found["pair_id"], found["trade_index"]


def with_pairs(client: ApiClient, rows: Iterable[Document]) -> list[Document]:
    """Trades or orders with the symbol of their pair, since an asset may be that of several.

    What is to be shown has happened: where the pairs cannot be had, or no longer list one, it is the asset.
    """
    try:
        listed: list[Document] = client.get("/trading/pairs", anonymous=True).data["pairs"]
    except Failure:
        listed = []
    symbols = {pair["id"]: pair["symbol"] for pair in listed}
    return [{**row, "pair": symbols.get(row["pair_id"], row["asset"])} for row in rows]


def _by_id(client: ApiClient, positions: list[Document], trade_id: int) -> Document:
    open_trades = ({**position, "id": position["trade_id"]} for position in positions)
    for trade in chain(open_trades, _trades(client)):
        if trade["id"] == trade_id:
            return trade
    raise Failure("TRADE_NOT_FOUND", f"You have no trade {trade_id}.", hint="marqetfi trade list shows them all.")


def _by_asset(positions: list[Document], name: str) -> Document:
    found = [one for one in positions if name.upper() in {one["asset"].upper(), one["pair"].upper()}]
    if not found:
        hint = "marqetfi positions lists those that are open."
        raise Failure("TRADE_NOT_FOUND", f"You have no open position in {name}.", hint=hint)
    if len(found) > 1:
        ids = [str(one["trade_id"]) for one in found]
        message = f"You have {len(found)} open positions in {name}: trades {', '.join(ids)}."
        hint = f"Name one of them by its id, such as {ids[0]} instead of {name}."
        raise Failure("TRADE_AMBIGUOUS", message, hint=hint, details={"trade_ids": [one["trade_id"] for one in found]})
    return found[0]


def _trades(client: ApiClient) -> Iterator[Document]:
    """Every trade of the user, newest first, page after page."""
    cursor: str | None = ""
    while cursor is not None:
        page = client.get("/trading/trades", {"limit": PAGE, "cursor": cursor or None}).data
        yield from page["trades"]
        cursor = page["next_cursor"]
