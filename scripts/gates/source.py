"""Python files as the gates see them: parsed once, with the full names of what they use."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, order=True)
class Breach:
    """One broken rule: where, which one, and a sentence that says what is wrong."""

    path: str
    line: int
    rule: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.rule}: {self.sentence}"


@dataclass(frozen=True)
class ImportedName:
    """One import: the name it gets here, what that name stands for, and what is loaded for it."""

    alias: str
    meaning: str
    target: str
    line: int


@dataclass(frozen=True)
class SourceFile:
    """One parsed file; `path` is relative to the project and has forward slashes."""

    path: str
    text: str
    tree: ast.Module

    @classmethod
    def parse(cls, path: str, text: str) -> "SourceFile":
        """Parse `text`; raises SyntaxError when it is not Python."""
        return cls(path, text, ast.parse(text, path))

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node of the file."""
        return list(ast.walk(self.tree))

    @cached_property
    def module(self) -> str:
        """The dotted name under which the file is imported."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def is_package(self) -> bool:
        """Whether the file is the `__init__.py` of a package."""
        return self.path.endswith("/__init__.py")

    def within(self, *places: str) -> bool:
        """Whether the file is one of these files or lies in one of these folders."""
        return any(self.path == place or self.path.startswith(f"{place}/") for place in places)

    def breach(self, line: int, rule: str, sentence: str) -> Breach:
        """A breach at a line of this file."""
        return Breach(self.path, line, rule, sentence)

    @cached_property
    def imports(self) -> list[ImportedName]:
        """Every imported name, also inside functions."""
        found: list[ImportedName] = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found += [_plain_import(alias, node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self._import_base(node)
                for alias in node.names:
                    full = f"{base}.{alias.name}"
                    found.append(ImportedName(alias.asname or alias.name, full, full, node.lineno))
        return found

    def _import_base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.module.split(".")
        parents = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*parents, node.module] if node.module else parents)

    @cached_property
    def _meanings(self) -> dict[str, str]:
        return {imported.alias: imported.meaning for imported in self.imports}

    def full_name(self, node: ast.AST) -> str:
        """The dotted name behind an expression, aliases undone: `dt.now` -> "datetime.datetime.now", else ""."""
        if isinstance(node, ast.Name):
            return self._meanings.get(node.id, node.id)
        if isinstance(node, ast.Attribute) and (owner := self.full_name(node.value)):
            return f"{owner}.{node.attr}"
        return ""


def _plain_import(alias: ast.alias, line: int) -> ImportedName:
    """`import a.b` gives the name `a`, which stands for `a`, although `a.b` is loaded."""
    if alias.asname:
        return ImportedName(alias.asname, alias.name, alias.name, line)
    first = alias.name.partition(".")[0]
    return ImportedName(first, first, alias.name, line)


def read_sources(root: Path, folders: Sequence[str]) -> tuple[list[SourceFile], list[Breach]]:
    """Every Python file below the folders that exist (generated migrations left out), and those that do not parse."""
    sources: list[SourceFile] = []
    unreadable: list[Breach] = []
    for path in _python_files(root, folders):
        relative = path.relative_to(root).as_posix()
        try:
            sources.append(SourceFile.parse(relative, path.read_text(encoding="utf-8")))
        except SyntaxError as error:
            unreadable.append(Breach(relative, error.lineno or 1, "syntax", error.msg))
    return sources, unreadable


def _python_files(root: Path, folders: Sequence[str]) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            if "versions" not in path.relative_to(root).parts:
                yield path
