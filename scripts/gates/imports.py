"""Who imports whom: rings (imports inside functions count), fan-out, and the doors that only some may open."""

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from scripts.gates.source import Breach, SourceFile

FAN_OUT = 35
VENUES = ("app.services.providers", "app.services.wallet_providers")


@dataclass(frozen=True)
class Door:
    """A module or package, ours or not, and the only ones of ours that may import it."""

    behind: str
    keepers: tuple[str, ...]


MESSENGERS = (
    "app.api",
    "app.websocket_wiring",
    "app.bootstrap",
    "app.container",
    "app.tasks",
    "app.webhook_wiring",
    "app.services.event_relay_service",
)
DOORS = (
    Door("sqlalchemy", ("app.models", "app.repositories", "app.core.database")),
    Door("fastapi", ("app.main", "app.api")),
    Door("starlette", ("app.main", "app.api")),
    Door(
        "app.config.settings",
        (
            "app.main",
            "app.bootstrap",
            "app.container",
            "app.wiring",
            "app.websocket_wiring",
            "app.shared_wiring",
            "app.webhook_wiring",
            "app.tasks",
            "app.cli",
        ),
    ),
    Door("app.services.webhook_service", MESSENGERS),
    Door("app.services.websocket_service", MESSENGERS),
    Door(
        "app.services.websocket", (*MESSENGERS, "app.services.websocket_service", "app.services.live_position_service")
    ),
)


@dataclass(frozen=True)
class Edge:
    """One import of the product's own: which file, which line, which module it loads."""

    source: SourceFile
    line: int
    module: str


def check_imports(app: list[SourceFile]) -> Iterator[Breach]:
    """Every ring, every module that leans on too many, every door opened by another than its keepers."""
    edges = _edges(app)
    yield from rings(edges)
    yield from fan_out(edges)
    for source in app:
        for imported in source.imports:
            yield from door(source, imported.target, imported.line, DOORS)
    yield from venues(app, edges)


def _edges(app: list[SourceFile]) -> list[Edge]:
    known = {source.module for source in app}
    edges = []
    for source in app:
        for imported in source.imports:
            module = _module_of(imported.target, known)
            if module and module != source.module:
                edges.append(Edge(source, imported.line, module))
    return edges


def _module_of(target: str, known: set[str]) -> str:
    """The module that holds an imported name; "" when it is none of ours."""
    while target and target not in known:
        target = target.rpartition(".")[0]
    return target


def rings(edges: list[Edge]) -> Iterator[Breach]:
    """Modules that import one another: each ring is told once, then thought broken at one import to find the next."""
    graph: dict[str, set[str]] = {}
    for edge in edges:
        graph.setdefault(edge.source.module, set()).add(edge.module)
    while ring := _a_ring(graph):
        importer, imported = ring[1], ring[0]
        graph[importer].discard(imported)
        edge = next(e for e in edges if (e.source.module, e.module) == (importer, imported))
        yield edge.source.breach(edge.line, "ring", " -> ".join(reversed(ring)))


def _a_ring(graph: dict[str, set[str]]) -> list[str]:
    """One ring, each member imported by the next, the first repeated at the end; empty when there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        ring: list[str] = error.args[1]
        return ring
    return []


def fan_out(edges: list[Edge]) -> Iterator[Breach]:
    """How many of our modules one module leans on."""
    reached: dict[str, set[str]] = {}
    sources = {edge.source.module: edge.source for edge in edges}
    for edge in edges:
        reached.setdefault(edge.source.module, set()).add(edge.module)
    for name, modules in reached.items():
        if len(modules) > FAN_OUT:
            yield sources[name].breach(1, "fan-out", f"imports {len(modules)} of our modules, at most {FAN_OUT}")


def door(source: SourceFile, target: str, line: int, doors: tuple[Door, ...]) -> Iterator[Breach]:
    """A door is opened by its keepers only."""
    for each in doors:
        if _inside(target, each.behind) and not any(
            _inside(source.module, owner) for owner in (each.behind, *each.keepers)
        ):
            yield source.breach(line, "door", f"{each.behind} is for {', '.join(each.keepers)}")


def venues(app: list[SourceFile], edges: list[Edge]) -> Iterator[Breach]:
    """A venue's package is reached through the registry beside it; no venue knows another."""
    packages = [source.module for source in app if source.is_package and source.module.rpartition(".")[0] in VENUES]
    doors = tuple(Door(package, (f"{package.rpartition('.')[0]}.registry",)) for package in packages)
    for edge in edges:
        yield from door(edge.source, edge.module, edge.line, doors)


def _inside(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")
