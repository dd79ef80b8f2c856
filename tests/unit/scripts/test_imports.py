"""Rings, fan-out and doors in small made-up trees."""

import pytest

from scripts.gates.imports import FAN_OUT, check_imports
from scripts.gates.source import SourceFile


def breaches(files: dict[str, str]) -> list[str]:
    sources = [SourceFile.parse(path, code) for path, code in files.items()]
    return [str(breach) for breach in check_imports(sources)]


def test_a_tree_without_rings_passes() -> None:
    files = {
        "app/__init__.py": "",
        "app/core/__init__.py": "",
        "app/core/a.py": "from app.core import b\nfrom app.core.c import C",
        "app/core/b.py": "import app.core.c",
        "app/core/c.py": "import os\n\nclass C: ...",
    }
    assert breaches(files) == []


def test_a_ring_is_told_once_with_its_way_round() -> None:
    files = {
        "app/core/a.py": "from app.core.b import B",
        "app/core/b.py": "from app.core.c import C",
        "app/core/c.py": "from app.core import a",
    }
    (only,) = breaches(files)
    assert only.startswith("app/core/") and ":1 ring: app.core." in only
    assert {"app.core.a", "app.core.b", "app.core.c"} == set(only.partition("ring: ")[2].split(" -> "))


def test_an_import_inside_a_function_closes_a_ring_too() -> None:
    files = {"app/core/a.py": "import app.core.b", "app/core/b.py": "def f():\n    import app.core.a"}
    assert len(breaches(files)) == 1


def test_two_rings_are_both_told() -> None:
    files = {
        "app/a.py": "import app.b",
        "app/b.py": "import app.a",
        "app/c.py": "import app.d",
        "app/d.py": "import app.c",
    }
    assert len(breaches(files)) == 2


def test_a_module_leans_on_few() -> None:
    others = {f"app/core/m{number}.py": "" for number in range(FAN_OUT + 1)}
    everything = "".join(f"import app.core.m{number}\n" for number in range(FAN_OUT + 1))
    all_but_one = everything.partition("\n")[2]
    assert breaches({**others, "app/x.py": all_but_one}) == []
    assert breaches({**others, "app/x.py": everything}) == ["app/x.py:1 fan-out: imports 36 of our modules, at most 35"]


@pytest.mark.parametrize(
    ("path", "code", "kept"),
    [
        ("app/repositories/order.py", "from sqlalchemy import select", True),
        ("app/core/database.py", "from sqlalchemy.ext.asyncio import AsyncEngine", True),
        ("app/core/queue.py", "import sqlalchemy", False),
        ("app/services/x.py", "from sqlalchemy import select", False),
        ("app/cli/main.py", "from sqlalchemy.exc import DBAPIError", False),
        ("app/api/v1/x.py", "from fastapi import APIRouter", True),
        ("app/main.py", "from starlette.middleware import Middleware", True),
        ("app/services/x.py", "def f():\n    from fastapi import HTTPException", False),
        ("app/bootstrap.py", "from app.config.settings import Settings", True),
        ("app/services/x.py", "from app.config import settings", False),
        ("app/services/x.py", "from app.config.providers.paper import PaperConfig", True),
        ("app/services/trading_service.py", "from app.services.webhook_service import WebhookService", False),
        ("app/services/event_relay_service.py", "from app.services.webhook_service import WebhookService", True),
    ],
)
def test_doors_are_opened_by_their_keepers_only(path: str, code: str, kept: bool) -> None:
    assert [" door: " in breach for breach in breaches({path: code})] == ([] if kept else [True])


def test_a_venue_is_reached_through_its_registry_only() -> None:
    package = "app/services/providers"
    files = {
        f"{package}/__init__.py": "",
        f"{package}/base.py": "class Base: ...",
        f"{package}/paper/__init__.py": "",
        f"{package}/paper/provider.py": "from app.services.providers.base import Base",
        f"{package}/paper/market.py": "from app.services.providers.paper.provider import Paper",
        f"{package}/lighter/__init__.py": "",
        f"{package}/registry.py": "from app.services.providers.paper.provider import Paper",
    }
    assert breaches(files) == []
    assert breaches({**files, f"{package}/lighter/client.py": "from app.services.providers.paper import market"})
    assert breaches({**files, "app/bootstrap.py": "from app.services.providers.paper.market import Market"})
