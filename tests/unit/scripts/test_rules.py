"""Each rule catches the breach it is for, and leaves good code alone."""

import pytest

from scripts.gates.rules import RULES
from scripts.gates.source import SourceFile

BROKEN = [
    ("status", "app/services/x.py", "order.status = 'filled'"),
    ("status", "app/services/x.py", "order.status, y = 'filled', 1"),
    ("status", "app/services/x.py", "class A:\n    def __init__(self, order):\n        order.status = 'new'"),
    ("status", "app/services/x.py", "class A:\n    def close(self):\n        self.status = 'closed'"),
    ("status", "app/repositories/x.py", "setattr(order, 'status', 'filled')"),
    ("clock", "app/services/x.py", "from datetime import datetime\ndatetime.now(tz)"),
    ("clock", "app/services/x.py", "from datetime import datetime as dt\ncreated = dt.utcnow"),
    ("clock", "app/models/x.py", "import datetime\ncolumn(default=datetime.datetime.now)"),
    ("clock", "app/core/x.py", "import datetime as d\nd.date.today()"),
    ("clock", "app/core/x.py", "from time import time\ntime()"),
    ("commit", "app/services/x.py", "async def f(s): await s.commit()"),
    ("commit", "app/repositories/order_repository.py", "end = session.commit"),
    ("float", "app/domain/money.py", "x = float(y)"),
    ("float", "app/domain/money.py", "x = list(map(float, y))"),
    ("float", "app/services/providers/lighter/mapping.py", "x = float(y)"),
    ("sleep", "tests/unit/test_x.py", "import asyncio\nasync def test_x(): await asyncio.sleep(0.1)"),
    ("sleep", "tests/unit/test_x.py", "from time import sleep as pause\npause(1)"),
    ("print", "app/services/x.py", "print('here')"),
    ("type-checking", "app/services/x.py", "from typing import TYPE_CHECKING"),
    ("type-checking", "tests/test_x.py", "import typing as t\nif t.TYPE_CHECKING:\n    import os"),
    ("stub", "app/services/x.py", "def pay():\n    pass"),
    ("stub", "app/services/x.py", 'async def pay():\n    """Pay."""\n    ...'),
    ("stub", "app/services/x.py", "def pay():\n    raise NotImplementedError('later')"),
]

KEPT = [
    ("app/models/order.py", "self.status = 'new'"),
    ("app/services/x.py", "stmt = update(Order).where(Order.status == old).values(status=new)\nprint_status = 1"),
    ("app/domain/errors.py", "class E(Exception):\n    def __init__(self):\n        self.status = 404"),
    ("app/core/clock.py", "from datetime import datetime, UTC\ndatetime.now(UTC)"),
    ("app/core/x.py", "import time\nfrom sqlalchemy import func\ntime.monotonic()\nfunc.now()"),
    ("app/repositories/unit_of_work.py", "async def f(s): await s.commit()"),
    ("app/domain/money.py", "def f(x: float) -> float:\n    return isinstance(x, float)"),
    ("app/services/providers/lighter/client.py", "float('1')"),
    ("tests/waiting.py", "import asyncio\nasync def until(): await asyncio.sleep(0.01)"),
    ("app/services/x.py", "import asyncio\nasync def poll(): await asyncio.sleep(1)"),
    ("app/cli/main.py", "print('http://127.0.0.1:8000')"),
    ("app/core/cache.py", "class Cache(Protocol[T]):\n    def get(self) -> T: ..."),
    ("app/core/cache.py", "class Cache:\n    @abstractmethod\n    def get(self): ..."),
    ("app/core/cache.py", 'class MemoryCache:\n    def close(self):\n        """Nothing is held open."""'),
]


def rules_broken(path: str, code: str) -> list[tuple[str, int]]:
    source = SourceFile.parse(path, f'"""What lives here."""\n{code}\n')
    return [(breach.rule, breach.line) for rule in RULES for breach in rule(source)]


@pytest.mark.parametrize(("rule", "path", "code"), BROKEN)
def test_a_breach_is_caught(rule: str, path: str, code: str) -> None:
    assert {name for name, _ in rules_broken(path, code)} == {rule}


@pytest.mark.parametrize(("path", "code"), KEPT)
def test_good_code_passes(path: str, code: str) -> None:
    assert rules_broken(path, code) == []


def test_a_breach_names_its_place() -> None:
    assert rules_broken("app/services/x.py", "a = 1\norder.status = 2") == [("status", 3)]


def test_every_module_says_what_lives_in_it() -> None:
    bare = SourceFile.parse("app/core/x.py", "x = 1\n")
    empty = SourceFile.parse("app/core/__init__.py", "")
    assert [breach.rule for rule in RULES for breach in rule(bare)] == ["module-docstring"]
    assert [breach.rule for rule in RULES for breach in rule(empty)] == []


def test_relative_imports_are_resolved() -> None:
    package = SourceFile.parse("app/api/__init__.py", "from . import errors\nfrom .v1 import router as r")
    module = SourceFile.parse("app/api/v1/x.py", "from ..errors import Known\nfrom . import router")
    assert [name.target for name in package.imports] == ["app.api.errors", "app.api.v1.router"]
    assert [name.target for name in module.imports] == ["app.api.errors.Known", "app.api.v1.router"]
