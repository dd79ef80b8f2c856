"""Sizes, branches, annotations and habits: what is measured, and which figure breaks a limit."""

import pytest

from scripts.gates.limits import check_limits, rare, share, spread
from scripts.gates.measures import Figure, Measures, measure
from scripts.gates.source import SourceFile


def measures_of(code: str, path: str = "app/core/x.py") -> Measures:
    return measure([SourceFile.parse(path, code)])


def values(kind: str, code: str) -> list[int]:
    return [figure.value for figure in measures_of(code).of(kind)]


def figures(*sizes: int) -> list[Figure]:
    return [Figure("app/x.py", number, f"f{number}", size) for number, size in enumerate(sizes, start=1)]


def rules_broken(code: str, path: str = "app/core/x.py") -> set[str]:
    return {breach.rule for breach in check_limits(measures_of(code, path), Measures())}


GOOD = '''"""A module."""


class Cache:
    """Values by key."""

    def get(self, key: str) -> str | None:
        """The value, or None."""
        return self.values.get(key.lower())
'''


def test_good_code_breaks_no_limit() -> None:
    assert rules_broken(GOOD) == set()


@pytest.mark.parametrize(
    ("body", "complexity"),
    [
        ("return 1", 1),
        ("if a and b or c:\n        return 1", 4),
        ("return [x for x in a if x if b]", 4),
        ("for x in a:\n        y = 1 if x else 2", 3),
        ("try:\n        a()\n    except ValueError:\n        b()", 2),
        ("match a:\n        case 1: b()\n        case _: c()", 3),
        ("return lambda x: x if x else b", 1),
        ("def inner() -> None:\n        if a: b()", 1),
    ],
)
def test_complexity_counts_the_ways_through(body: str, complexity: int) -> None:
    assert values("complexity", f"def f(a, b, c):\n    {body}\n")[0] == complexity


def test_nesting_counts_blocks_but_no_elif() -> None:
    flat = "def f():\n    if a:\n        b()\n    elif c:\n        d()\n    elif e:\n        g()\n"
    deep = "async def f():\n    async with a:\n        for x in b:\n            if x:\n                c()\n"
    assert values("nesting", flat) == [1]
    assert values("nesting", deep) == [3]


def test_a_docstring_is_no_line_of_a_function() -> None:
    assert values("function-lines", 'def f():\n    """One.\n\n    Two.\n    """\n    return (\n        1\n    )\n') == [
        4
    ]


def test_slots_without_a_type_are_counted() -> None:
    code = "class A:\n    def f(self, a: int, *b, c=1, **d: str): ...\n    def g(self) -> None: ...\n"
    assert values("untyped-slots", code) == [3, 0]
    assert values("parameters", code) == [4, 0]


def test_overloads_are_not_measured() -> None:
    assert values("function-lines", "@overload\ndef f(x): ...\n@typing.overload\ndef f(y): ...\ndef f(z): ...\n") == [1]


def test_only_public_definitions_need_a_docstring() -> None:
    code = "class _A:\n    def f(self): ...\nclass B:\n    def _g(self): ...\n    def h(self):\n        def i(): ...\n"
    assert [f.name for f in measures_of(code).of("function-documented")] == ["B.h"]
    assert [f.name for f in measures_of(code).of("class-documented")] == ["B"]


def test_code_lines_leave_out_blanks_comments_and_docstrings() -> None:
    code = '"""Doc.\n\nMore."""\n\n# comment\nx = """\n\ntext"""  # a\ndef f():\n    """Doc."""\n    return 1\n'
    assert measures_of(code).code_lines == 5


@pytest.mark.parametrize(
    ("body", "forwards"),
    [
        ("return self.other(a, b)", True),
        ("await self.other(a, b=b)", True),
        ("return self.other(a)", False),
        ("return self.other(a, b, 1)", False),
        ("return self.other(a, b).c", False),
        ("a = b\n    return self.other(a, b)", False),
    ],
)
def test_forwarding_is_handing_on_exactly_the_parameters(body: str, forwards: bool) -> None:
    assert values("forwarding", f"async def f(a, b):\n    {body}\n") == [forwards]


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("any", "from typing import Any\nx: Any = 1\n"),
        ("any", "import typing as t\nx: t.Any = 1\n"),
        ("broad-except", "try:\n    a()\nexcept Exception:\n    b()\n"),
        ("broad-except", "try:\n    a()\nexcept (ValueError, BaseException):\n    b()\n"),
        ("broad-except", "try:\n    a()\nexcept:\n    b()\n"),
        ("type-ignore", "x = 1  # type: ignore[assignment]\n"),
        ("noqa", "x = 1  # noqa: E501\n"),
        ("untyped-slots", "def f(a) -> None:\n    x = a\n"),
        ("forwarding", "def f(a: int) -> int:\n    return g(a)\n"),
        ("module-lines", "x = 1\n" * 401),
        ("function-lines", "def f() -> None:\n" + "    x = 1\n" * 60),
        ("complexity", "def f() -> None:\n" + "    if a: b()\n" * 12),
        ("nesting", "def f() -> None:\n" + "".join(f"{'    ' * d}if a:\n" for d in range(1, 6)) + "    " * 6 + "b()\n"),
        ("class-methods", "class A:\n" + "    def f(self) -> None: ...\n" * 19),
        ("parameters-p90", "def f(a: int, b: int, c: int, d: int, e: int, g: int) -> None: ...\n"),
        ("class-documented", "class A:\n    x = 1\n"),
        ("function-documented", "def f() -> None:\n    x = 1\n"),
        ("module-documented", "x = 1\n"),
    ],
)
def test_each_limit_catches_its_breach(rule: str, code: str) -> None:
    assert rule in rules_broken(code)


def test_test_functions_have_a_limit_of_their_own() -> None:
    long_test = measures_of("def test_x() -> None:\n" + "    x = 1\n" * 41, "tests/test_x.py")
    long_other = measures_of("def prepare() -> None:\n" + "    x = 1\n" * 41, "tests/test_x.py")
    assert [breach.rule for breach in check_limits(Measures(), long_test)] == ["test-function-lines-p90"]
    assert list(check_limits(Measures(), long_other)) == []


def test_a_percentile_may_be_passed_by_one_in_ten() -> None:
    nine_small_one_large = figures(*[1] * 9, 100)
    eight_small_two_large = figures(*[1] * 8, 100, 90)
    assert list(spread("size", nine_small_one_large, p90=10)) == []
    worst = next(spread("size", eight_small_two_large, p90=10))
    assert str(worst) == "app/x.py:9 size-p90: f9: 100; 90 % must keep 10, is 90"


def test_the_median_is_the_lower_one() -> None:
    assert list(spread("size", figures(9, 9, 100, 100), p50=9)) == []
    assert [breach.rule for breach in spread("size", figures(9, 10, 10), p50=9)] == ["size-p50"] * 3


def test_a_maximum_names_each_that_is_over() -> None:
    assert [breach.line for breach in spread("size", figures(5, 6, 7), most=5)] == [2, 3]


def test_shares_and_rates_hold_at_the_limit_itself() -> None:
    assert list(share("doc", figures(1, 1, 1, 0), least=75)) == []
    assert [breach.line for breach in share("doc", figures(1, 0, 1, 0), least=75)] == [2, 4]
    assert list(rare("any", figures(1), 100, per_cent=1)) == []
    assert [breach.line for breach in rare("any", figures(1, 1), 100, per_cent=1)] == [1, 2]
