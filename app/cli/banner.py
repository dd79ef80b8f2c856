"""What a process says when it starts: what it is, and what it does that nobody would expect of it."""

from collections.abc import Sequence

from rich.text import Text

from app.cli.console import say
from app.config.settings import Settings
from app.core.version import VERSION

type Fact = tuple[str, str]


def announce(settings: Settings, process: str | Text, facts: Sequence[Fact] = ()) -> None:
    """Say that a process runs, and how to stop it; then facts about it, one a line."""
    banner = Text.assemble((f"MarqetFi {VERSION}", "bold green"), process)
    for name, value in facts:
        banner += Text.assemble((f"\n  {name:<9}", "dim"), value)
    for name, value in _unusual(settings):
        banner += Text.assemble((f"\n  {name:<9}", "dim"), (value, "bold yellow"))
    say(banner)


def prices_of(settings: Settings) -> Fact:
    """Where prices come from."""
    if settings.paper_feed == "simulated":
        return "prices", "simulated"
    again = ", again and again" if settings.paper_replay_loop else ""
    return "prices", f"replay of {', '.join(settings.paper_replay)} at {settings.paper_replay_speed:g}x{again}"


def _unusual(settings: Settings) -> list[Fact]:
    """What goes wrong on purpose, and a venue that nets."""
    facts = []
    for name, points in (("FAULTS", settings.faults), ("VENUE_FAULTS", settings.venue_faults)):
        if points:
            facts.append(("faults", f"{name}={','.join(points)}: things go wrong on purpose"))
    if settings.paper_netting:
        facts.append(("netting", "paper keeps one position for each account and pair"))
    return facts
