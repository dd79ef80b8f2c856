"""What is measured in a file: sizes, branches, annotations, docstrings and habits, all as plain figures."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field

from scripts.gates.source import FunctionNode, SourceFile

BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.Match)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
COMMENTED = {
    "noqa": re.compile(r"#\s*noqa\b", re.IGNORECASE),
    "type-ignore": re.compile(r"#\s*(type|pyright):\s*ignore\b"),
}


@dataclass(frozen=True)
class Figure:
    """One measured thing: where it stands, what it is called, how much it is."""

    path: str
    line: int
    name: str
    value: int


@dataclass
class Measures:
    """All figures of a set of files, by kind; each kind is listed at its `add`."""

    code_lines: int = 0
    figures: dict[str, list[Figure]] = field(default_factory=dict)

    def of(self, kind: str) -> list[Figure]:
        """The figures of one kind, in the order of reading."""
        return self.figures.get(kind, [])

    def add(self, kind: str, figure: Figure) -> None:
        """Note one figure."""
        self.figures.setdefault(kind, []).append(figure)


def measure(sources: list[SourceFile]) -> Measures:
    """Measure all files that hold any code."""
    measures = Measures()
    for source in sources:
        if code_lines := len(_code_lines(source)):
            measures.code_lines += code_lines
            _measure_file(source, measures)
    return measures


def _measure_file(source: SourceFile, measures: Measures) -> None:
    def add(kind: str, line: int, name: str, value: int) -> None:
        measures.add(kind, Figure(source.path, line, name, value))

    add("module-lines", 1, source.module, len(source.text.splitlines()))
    add("module-documented", 1, source.module, ast.get_docstring(source.tree) is not None)
    for node, scope in _definitions(source.tree, ()):
        name = ".".join([*(outer.name for outer in scope), node.name])
        is_nested = any(isinstance(outer, FunctionNode) for outer in scope)
        is_public = not is_nested and not any(part.startswith("_") for part in name.split("."))
        is_documented = ast.get_docstring(node) is not None
        if isinstance(node, ast.ClassDef):
            add("class-methods", node.lineno, name, sum(isinstance(child, FunctionNode) for child in node.body))
            if not is_nested and not node.name.startswith("_"):
                add("class-documented", node.lineno, name, is_documented)
        elif not _is_overload(node):
            if is_public:
                add("function-documented", node.lineno, name, is_documented)
            for kind, value in _measure_function(node).items():
                add(kind, node.lineno, name, value)
    for kind, line in _habits(source):
        add(kind, line, source.module, 1)


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(node: ast.AST, scope: tuple[Definition, ...]) -> Iterator[tuple[Definition, tuple[Definition, ...]]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            yield child, scope
            yield from _definitions(child, (*scope, child))
        else:
            yield from _definitions(child, scope)


def _is_overload(function: FunctionNode) -> bool:
    return any(ast.unparse(mark).rpartition(".")[2] == "overload" for mark in function.decorator_list)


def _measure_function(function: FunctionNode) -> dict[str, int]:
    parameters = _parameters(function)
    untyped = sum(parameter.annotation is None for parameter in parameters) + (function.returns is None)
    return {
        "function-lines": _last_line(function) - function.lineno + 1 - len(_docstring_lines(function)),
        "complexity": _complexity(function),
        "nesting": _nesting(function),
        "parameters": len(parameters),
        "untyped-slots": untyped,
        "forwarding": _only_forwards(function, {parameter.arg for parameter in parameters}),
    }


def _parameters(function: FunctionNode) -> list[ast.arg]:
    """All parameters but the first of a method."""
    args = function.args
    named = [*args.posonlyargs, *args.args]
    if named and named[0].arg in {"self", "cls", "mcs"}:
        named = named[1:]
    return [*named, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]


def _complexity(function: FunctionNode) -> int:
    paths = 1
    for node in _own_nodes(function):
        if isinstance(node, BRANCHES):
            paths += 1
        elif isinstance(node, ast.BoolOp):
            paths += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            paths += 1 + len(node.ifs)
    return paths


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """What a function holds itself; what it defines inside is measured for itself."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, SCOPES):
            yield child
            yield from _own_nodes(child)


def _nesting(node: ast.AST) -> int:
    depths = [0]
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, SCOPES):
            is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
            depths.append(_nesting(child) + (isinstance(child, BLOCKS) and not is_elif))
    return max(depths)


def _only_forwards(function: FunctionNode, parameters: set[str]) -> bool:
    """Whether the whole body hands exactly the parameters on to one other call."""
    body = function.body[1:] if _docstring_lines(function) else function.body
    if len(body) != 1 or not parameters or function.decorator_list or function.name.startswith("__"):
        return False
    value = getattr(body[0], "value", None) if isinstance(body[0], ast.Return | ast.Expr) else None
    call = value.value if isinstance(value, ast.Await) else value
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name | ast.Attribute):
        return False
    passed = [*call.args, *(keyword.value for keyword in call.keywords)]
    return all(isinstance(arg, ast.Name) for arg in passed) and {ast.unparse(arg) for arg in passed} == parameters


def _habits(source: SourceFile) -> Iterator[tuple[str, int]]:
    for node in source.nodes:
        if isinstance(node, ast.Name | ast.Attribute) and source.full_name(node) == "typing.Any":
            yield "any", node.lineno
        elif isinstance(node, ast.ExceptHandler) and _is_broad(node):
            yield "broad-except", node.lineno
    for token in _tokens(source.text):
        if token.type == tokenize.COMMENT:
            yield from ((kind, token.start[0]) for kind, pattern in COMMENTED.items() if pattern.search(token.string))


def _is_broad(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    return any(isinstance(n, ast.Name) and n.id in {"Exception", "BaseException"} for n in ast.walk(handler.type))


def _code_lines(source: SourceFile) -> set[int]:
    """Lines that hold code: no blank line, no comment, no docstring."""
    lines: set[int] = set()
    for token in _tokens(source.text):
        if token.type not in LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    documented = (n for n in source.nodes if isinstance(n, ast.Module | Definition))
    return lines.difference(*(_docstring_lines(node) for node in documented))


def _tokens(text: str) -> Iterator[tokenize.TokenInfo]:
    return tokenize.generate_tokens(io.StringIO(text).readline)


def _docstring_lines(node: ast.Module | Definition) -> range:
    if ast.get_docstring(node) is None:
        return range(0)
    return range(node.body[0].lineno, _last_line(node.body[0]) + 1)


def _last_line(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno
