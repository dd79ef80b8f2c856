"""Tables and lists for people: what the API answers, with its exact numbers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cli.client import Document
from app.cli.console import screen
from app.domain.enums import OrderRole, TriggerBy
from app.domain.money import USDC_DECIMALS

NOTHING = "-"
MOST = 1000  # characters across
BAR = 10  # characters on each side of a bar's middle
# What a trailing stop keeps from the best price, each with its unit.
_OFFSETS = {"trailing_stop_distance": "", "trailing_stop_percentage": " %"}
GAIN, LOSS, CALM = "green", "red", "dim"
STATUS_STYLES = {
    "open": GAIN,
    "filled": GAIN,
    "delivered": GAIN,
    "pending": "yellow",
    "waiting": "yellow",
    "submitted": "yellow",
    "triggered": "yellow",
    "closing": "yellow",
    "unknown": "bold red",
    "failed": LOSS,
    "rejected": LOSS,
    "liquidated": LOSS,
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, and what stands in it for one row; numbers are set to the right.

    `is_minor`: it is left out where room lacks, one of a higher `weight` later. `is_rare`: it is there only where a
    row has something in it.
    """

    heading: str
    cell: Callable[[Document], Text | str]
    is_number: bool = False
    is_minor: bool = False
    weight: int = 0
    is_rare: bool = False


def show(columns: Sequence[Column], rows: Iterable[Document], empty: str) -> None:
    """Print rows as a table, or one sentence where there are none.

    Where the terminal is too narrow, columns stand closer; then minor ones are left out and named, the last first
    among those of one weight.
    """
    rows, console = list(rows), screen()
    if not rows:
        console.print(Text(empty, style=CALM))
        return
    wanted = [column for column in columns if not column.is_rare or any(column.cell(row) != NOTHING for row in rows)]
    is_close = _width(wanted, rows) > console.width
    shown = _fitting(wanted, rows, console.width) if is_close else wanted
    console.print(table(shown, rows, is_close=is_close))
    if left_out := [column.heading for column in wanted if column not in shown]:
        console.print(Text(f"Not shown for lack of room: {', '.join(left_out)}. --json has them.", style=CALM))


def _fitting(columns: Sequence[Column], rows: Iterable[Document], width: int) -> Sequence[Column]:
    """The columns that a table has room for where they stand close; those that are not minor in any case."""
    shown = list(columns)
    while (minor := [column for column in shown if column.is_minor]) and _width(shown, rows, is_close=True) > width:
        shown.remove(min(reversed(minor), key=lambda column: column.weight))
    return shown


def _width(columns: Sequence[Column], rows: Iterable[Document], *, is_close: bool = False) -> int:
    """How wide a table is where there is room enough."""
    return Console(width=MOST).measure(table(columns, rows, is_close=is_close)).maximum


def table(columns: Sequence[Column], rows: Iterable[Document], *, is_close: bool = False) -> Table:
    """Rows as a table; `is_close` where its columns need to stand close to each other."""
    # The box itself puts one space between columns.
    padding = (0, 0) if is_close else (0, 1)
    shown = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=padding, show_edge=not is_close)
    for column in columns:
        shown.add_column(column.heading, justify="right" if column.is_number else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(column.cell(row) for column in columns))
    return shown


def show_facts(facts: Iterable[tuple[str, Text | str]]) -> None:
    """Print names and values, one a line."""
    shown = Table.grid(padding=(0, 2))
    shown.add_column(style=CALM)
    # What is copied from here, such as a URL, must be whole.
    shown.add_column(overflow="fold")
    for name, value in facts:
        shown.add_row(name, value)
    screen().print(shown)


def text(name: str) -> Callable[[Document], Text | str]:
    """A cell that shows a field as it is."""
    return lambda row: NOTHING if row[name] is None else Text(str(row[name]))


def number(name: str) -> Callable[[Document], Text | str]:
    """A cell that shows a number."""
    return lambda row: number_text(row[name])


def rough(name: str) -> Callable[[Document], Text | str]:
    """A cell that shows a computed number, which has more digits than anybody reads."""
    return lambda row: number_text(rounded(row[name]))


def gain(name: str) -> Callable[[Document], Text | str]:
    """A cell that shows a result in USDC with its sign, in its colour, to the smallest unit of USDC."""
    return lambda row: gain_text(None if row[name] is None else round(Decimal(row[name]), USDC_DECIMALS).normalize())


def instant(name: str) -> Callable[[Document], Text | str]:
    """A cell that shows an instant of the API, in UTC to the second."""
    return lambda row: NOTHING if row[name] is None else Text(instant_text(row[name]), style=CALM)


def instant_text(instant: str) -> str:
    """An instant of the API, in UTC to the second."""
    return instant[:19].replace("T", " ")


def number_text(value: Decimal | int | None) -> str:
    """A number with all its digits, in groups of three."""
    if value is None:
        return NOTHING
    return f"{value:,f}" if isinstance(value, Decimal) else f"{value:,}"


def money_text(value: Decimal | int) -> str:
    """An amount of USDC, to its smallest unit."""
    return f"{number_text(round(Decimal(value), USDC_DECIMALS).normalize())} USDC"


def gain_text(value: Decimal | int | None, unit: str = "") -> Text | str:
    """A result: + and green, or - and red."""
    if value is None:
        return NOTHING
    if value == 0:
        return Text(f"0{unit}")
    return Text(f"{Decimal(value):+,f}{unit}", style=GAIN if value > 0 else LOSS)


def bar_text(value: Decimal | int, largest: Decimal | int) -> Text:
    """A result as a bar, to the right of the middle or to the left of it; the largest fills its side."""
    if not value:
        return Text(" " * BAR + "│", style=CALM)
    # What is not nothing is seen.
    length = max(1, round(abs(Decimal(value)) * BAR / largest))
    if value > 0:
        return Text.assemble(" " * BAR, ("│", CALM), ("█" * length, GAIN))
    return Text.assemble(" " * (BAR - length), ("█" * length, LOSS), ("│", CALM))


def side_text(is_long: bool) -> Text:
    """long or short, in its colour."""
    return Text("long", style=GAIN) if is_long else Text("short", style=LOSS)


def exits_text(row: Document) -> Text | str:
    """The exits of a trade, by the numbers of their orders."""
    return ", ".join(f"#{number}" for number in row["exit_order_ids"]) or Text("none", style="yellow")


def status_text(status: str) -> Text:
    """A status, in the colour of how much it asks to be looked at."""
    return Text(status, style=STATUS_STYLES.get(status, CALM))


def levels_text(order: Document) -> str:
    """The prices that an order waits for, and how it watches for them, in one phrase."""
    return ", ".join([*_fixed_levels(order), *_trailing_levels(order), *_watching(order)]) or NOTHING


def _fixed_levels(order: Document) -> Iterator[str]:
    for name, word in (("price", "limit"), ("take_profit_price", "take profit")):
        if order[name] is not None:
            yield f"{word} {number_text(order[name])}"
    if order["oco_stop_price"] is not None:
        yield f"{number_text(order['oco_stop_price'])} / {number_text(order['oco_take_profit_price'])}"
    if order["stop_price"] is not None and not _trails(order):
        yield f"stop {number_text(order['stop_price'])}"


def _trailing_levels(order: Document) -> Iterator[str]:
    for name, unit in _OFFSETS.items():
        if order[name] is not None:
            yield f"trails by {number_text(order[name])}{unit}"
    if order["activation_price"] is not None:
        price = number_text(order["activation_price"])
        yield f"from {price} on" if order["activated_sequence"] is None else f"began at {price}"
    if order["stop_price"] is not None and _trails(order):
        # It is computed, any other stop was typed.
        yield f"now at {number_text(rounded(order['stop_price']))}"


def _watching(order: Document) -> Iterator[str]:
    """How an exit watches the price, where that is not as usual."""
    if order["trigger_by"] != TriggerBy.MARK:
        yield f"by {order['trigger_by']}"
    if order["price_protect"]:
        yield "protected"


def _trails(order: Document) -> bool:
    return any(order[name] is not None for name in _OFFSETS)


def order_status(order: Document) -> Text:
    """The status of an order, and since when it is held, where it is."""
    shown = status_text(order["status"])
    if order["held_since"] is None:
        return shown
    return Text.assemble(shown, (f", held since {instant_text(order['held_since'])}", "bold yellow"))


def _trade_size(trade: Document) -> str:
    """What is open of a trade; once nothing is, what was opened, where its orders are there to tell."""
    entries = (order["filled_quantity"] for order in trade.get("orders", ()) if order["role"] == OrderRole.ENTRY)
    return number_text(trade["size"] or sum(entries) or None)


def liquidation_text(price: Decimal | int | None) -> str:
    """A liquidation price; a long that can lose all its worth first has 0, which no price reaches."""
    return number_text(rounded(price or None))


TRADES = (
    Column("ID", text("id"), is_number=True),
    Column("Pair id", text("pair_id"), is_number=True, is_minor=True),
    Column("Index", text("trade_index"), is_number=True, is_minor=True, weight=2),
    Column("Pair", text("pair")),
    Column("Side", lambda row: side_text(row["direction"])),
    Column("Size", _trade_size, is_number=True, is_minor=True, weight=1),
    Column("Collateral", number("collateral"), is_number=True, is_minor=True),
    Column("Leverage", lambda row: f"{row['leverage']}x", is_number=True, is_minor=True),
    Column("Entry", rough("entry_price"), is_number=True),
    Column("Exit", rough("exit_price"), is_number=True),
    Column("PnL", gain("pnl"), is_number=True),
    Column("Fees", number("fees"), is_number=True, is_minor=True),
    Column("Funding", gain("funding"), is_number=True, is_minor=True),
    Column("Status", lambda row: status_text(row["status"])),
    Column("Closed by", text("close_reason"), is_minor=True, weight=3),
    Column("Made (UTC)", instant("created_at"), is_minor=True),
)

POSITIONS = (
    Column("Trade", text("trade_id"), is_number=True),
    Column("Pair", text("pair")),
    Column("Pair id", text("pair_id"), is_number=True, is_minor=True),
    Column("Index", text("trade_index"), is_number=True, is_minor=True),
    Column("Side", lambda row: side_text(row["side"] == "long") + f" {row['leverage']}x"),
    Column("Size", number("size"), is_number=True, is_minor=True, weight=1),
    Column("Entry", rough("entry_price"), is_number=True, is_minor=True, weight=2),
    Column("Price", rough("current_price"), is_number=True),
    Column("Liquidation", lambda row: liquidation_text(row["liquidation_price"]), is_number=True),
    Column("Margin", number("margin"), is_number=True, is_minor=True),
    Column("PnL", gain("unrealized_pnl"), is_number=True),
    Column("Funding", gain("funding"), is_number=True, is_minor=True),
    Column("ROI", lambda row: gain_text(rounded(row["roi"], 3), " %"), is_number=True, is_minor=True),
    Column("Exits", exits_text),
)

ORDERS = (
    Column("ID", text("id"), is_number=True),
    Column("Trade", text("trade_id"), is_number=True, is_minor=True),
    Column("Pair", text("pair")),
    Column("Role", text("role"), is_minor=True),
    Column("Type", text("order_type")),
    Column("Side", text("side"), is_minor=True),
    Column("Size", number("quantity"), is_number=True),
    Column("Filled", number("filled_quantity"), is_number=True, is_minor=True),
    Column("Levels", levels_text),
    Column("Triggered at", rough("trigger_price"), is_number=True, is_minor=True),
    Column("Average price", rough("average_price"), is_number=True, is_minor=True),
    Column("Status", order_status),
    Column("Expires (UTC)", instant("expires_at"), is_minor=True, weight=1, is_rare=True),
    Column("Made (UTC)", instant("created_at"), is_minor=True),
)

PAIRS = (
    Column("ID", text("id"), is_number=True),
    Column("Symbol", text("symbol")),
    Column("Asset", text("base")),
    Column("Category", text("category")),
    Column("Venue", text("venue"), is_minor=True),
    Column("Leverage", lambda row: f"{row['min_leverage']}-{row['max_leverage']}x", is_number=True),
    Column("Least collateral", number("min_collateral"), is_number=True, is_minor=True),
    Column("Price step", number("price_step"), is_number=True),
    Column("Size step", number("size_step"), is_number=True),
    Column("Fee", lambda row: f"{Decimal(row['taker_fee_rate']) * 100:f} %", is_number=True),
)

EVENTS = (
    Column("#", text("sequence"), is_number=True),
    Column("When (UTC)", instant("created_at")),
    Column("Event", text("type")),
    Column("What", lambda row: Text(event_phrase(row["data"]))),
)
_TOLD = ("asset", "side", "direction", "order_type", "status", "reason", "size", "entry_price", "exit_price", "pnl")


def rounded(value: Decimal | int | None, digits: int = 8) -> Decimal | None:
    """A number to so many significant digits, and never less than to the unit."""
    if value is None:
        return None
    exact = Decimal(value)
    return Context(prec=max(digits, exact.adjusted() + 1)).plus(exact)


def event_phrase(data: Document) -> str:
    """What an event tells, in short."""
    named = [f"{name.removesuffix('_id')} {data[name]}" for name in ("trade_id", "order_id") if data.get(name)]
    told = [f"{name}={_plain(data[name])}" for name in _TOLD if data.get(name) is not None]
    return " ".join([*named, *told])


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{rounded(value):f}"
    return str(value).lower() if isinstance(value, bool) else str(value)
