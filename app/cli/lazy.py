"""A group of commands whose modules are loaded when they are called: some need two seconds, most need none."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command or a group of them: where it is ("module:function" or "module:app"), and its line in the list."""

    target: str
    summary: str
    panel: str | None = None


class LazyGroup(TyperGroup):
    """A group made of a table; `--help`, completion and suggestions need no module at all."""

    table: ClassVar[Mapping[str, Lazy]]

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, lazy in self.table.items():
            self.add_command(TyperCommand(name, help=lazy.summary, rich_help_panel=lazy.panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that is called, and load it."""
        name, listed, rest = super().resolve_command(ctx, args)
        return (name, listed, rest) if name is None else (name, self.load(name), rest)

    def load(self, name: str) -> Any:
        """The real command of a name in the table."""
        module, _, attribute = self.table[name].target.partition(":")
        target = getattr(import_module(module), attribute)
        if not isinstance(target, typer.Typer):
            function, target = target, typer.Typer(add_completion=False)
            target.command()(function)
        command = typer.main.get_command(target)
        command.name = name
        return command
