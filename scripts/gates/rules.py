"""Rules about single expressions: one function per rule, each given one file."""

import ast
from collections.abc import Callable, Iterator

from scripts.gates.source import Breach, FunctionNode, SourceFile

Rule = Callable[[SourceFile], Iterator[Breach]]

WALL_CLOCK = {
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "datetime.datetime.utcfromtimestamp",
    "datetime.date.today",
    "time.time",
    "time.time_ns",
}
SLEEPS = {"anyio.sleep", "asyncio.sleep", "time.sleep"}


def status(source: SourceFile) -> Iterator[Breach]:
    """A status changes by an UPDATE that names the status it expects, never by assignment."""
    if not source.within("app") or source.within("app/models"):
        return
    constructed = {id(inner) for node in source.nodes for inner in _own_attributes_in_init(node)}
    for node in source.nodes:
        stored = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr == "status"
        if (stored and id(node) not in constructed) or _sets_status(node):
            yield source.breach(_line(node), "status", "change a status by a repository's compare-and-set UPDATE")


def _own_attributes_in_init(node: ast.AST) -> Iterator[ast.AST]:
    """`self.x` inside `__init__`: an object under construction has no state yet that could change."""
    if isinstance(node, ast.FunctionDef) and node.name == "__init__":
        for inner in ast.walk(node):
            if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == "self":
                yield inner


def _sets_status(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "setattr"
        and len(node.args) > 1
        and isinstance(node.args[1], ast.Constant)
        and node.args[1].value == "status"
    )


def clock(source: SourceFile) -> Iterator[Breach]:
    """The wall clock is read in one place, so that tests can set it."""
    if not source.within("app") or source.within("app/core/clock.py"):
        return
    for node in source.nodes:
        if (name := source.full_name(node)) in WALL_CLOCK:
            yield source.breach(_line(node), "clock", f"{name} is for app/core/clock.py; take a Clock")


def commit(source: SourceFile) -> Iterator[Breach]:
    """Only the unit of work ends a transaction."""
    if not source.within("app") or source.within("app/repositories/unit_of_work.py"):
        return
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and node.attr == "commit":
            yield source.breach(node.lineno, "commit", "only app/repositories/unit_of_work.py commits")


def no_float(source: SourceFile) -> Iterator[Breach]:
    """Money never passes through a float: not in the domain, not where wire formats are read."""
    is_mapping = source.within("app/services/providers") and source.path.endswith("/mapping.py")
    if not (source.within("app/domain") or is_mapping):
        return
    for node in source.nodes:
        if isinstance(node, ast.Call) and _makes_float(node):
            yield source.breach(node.lineno, "float", "use Decimal or integers")


def _makes_float(call: ast.Call) -> bool:
    callee = call.func.id if isinstance(call.func, ast.Name) else ""
    if callee in {"isinstance", "issubclass"}:
        return False
    return callee == "float" or any(isinstance(arg, ast.Name) and arg.id == "float" for arg in call.args)


def sleep(source: SourceFile) -> Iterator[Breach]:
    """A test waits for a condition, not for a time."""
    if not source.within("tests") or source.within("tests/waiting.py"):
        return
    for node in source.nodes:
        if (name := source.full_name(node)) in SLEEPS:
            yield source.breach(_line(node), "sleep", f"{name} in a test; wait for a condition (tests/waiting.py)")


def no_print(source: SourceFile) -> Iterator[Breach]:
    """The console belongs to the console script; everybody else logs."""
    if not source.within("app") or source.within("app/cli"):
        return
    for node in source.nodes:
        if isinstance(node, ast.Name) and node.id == "print":
            yield source.breach(node.lineno, "print", "log it; only app/cli prints")


def type_checking(source: SourceFile) -> Iterator[Breach]:
    """An import for the type checker alone hides a ring, and breaks annotations that are read at run time."""
    for imported in source.imports:
        if imported.target == "typing.TYPE_CHECKING":
            yield source.breach(imported.line, "type-checking", "import it in earnest, or break the ring")
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and source.full_name(node) == "typing.TYPE_CHECKING":
            yield source.breach(node.lineno, "type-checking", "import it in earnest, or break the ring")


def module_docstring(source: SourceFile) -> Iterator[Breach]:
    """Each file says in one line what lives there; an empty file has nothing to say."""
    if source.tree.body and ast.get_docstring(source.tree) is None:
        yield source.breach(1, "module-docstring", "say in one line what lives here")


def stub(source: SourceFile) -> Iterator[Breach]:
    """A function does what its name says; only a port may leave its body open."""
    if not source.within("app"):
        return
    open_bodies = {id(function) for node in source.nodes for function in _port_functions(node)}
    for node in source.nodes:
        if isinstance(node, ast.Raise) and node.exc is not None and "NotImplementedError" in ast.unparse(node.exc):
            yield source.breach(node.lineno, "stub", "build it, or leave the name out")
        elif isinstance(node, FunctionNode) and id(node) not in open_bodies and _is_empty(node):
            yield source.breach(node.lineno, "stub", f"{node.name} has no body")


def _port_functions(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases):
        yield from node.body
    elif isinstance(node, FunctionNode):
        marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
        if marks & {"abstractmethod", "overload"}:
            yield node


def _is_empty(function: FunctionNode) -> bool:
    """Nothing but `pass` or `...`; a docstring alone is a decision to do nothing, with its reason."""
    last = function.body[-1]
    is_ellipsis = isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant) and last.value.value is ...
    is_alone = len(function.body) == (1 if ast.get_docstring(function) is None else 2)
    return is_alone and (is_ellipsis or isinstance(last, ast.Pass))


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 1)


RULES: tuple[Rule, ...] = (
    status,
    clock,
    commit,
    no_float,
    sleep,
    no_print,
    type_checking,
    module_docstring,
    stub,
)
