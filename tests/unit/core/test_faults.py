"""Fault points: named in one list, nothing without FAULTS, and what FAULTS says with it."""

import ast
import asyncio
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core import faults
from app.core.faults import POINTS, Action, Fault, FaultInjected, FaultsInvalid, buggify, injector, parse
from tests.waiting import let_others_run

SOURCES = Path(faults.__file__).parents[1]


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    yield
    faults.install(None)


def points_in_the_product() -> list[str]:
    found = []
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "buggify":
                (argument,) = node.args
                assert isinstance(argument, ast.Constant), f"{path}:{node.lineno}"
                found.append(str(argument.value))
    return found


def test_every_point_of_the_list_is_in_the_product_and_no_other() -> None:
    assert set(points_in_the_product()) == set(POINTS)


async def test_without_faults_nothing_happens() -> None:
    assert [await buggify(point) for point in POINTS] == [False] * len(POINTS)


async def test_a_fault_raises_at_its_point_only() -> None:
    faults.install(injector(parse(["claim.begun:raise"]), seed=0))

    assert await buggify("claim.committed") is False
    with pytest.raises(FaultInjected, match=r"claim\.begun"):
        await buggify("claim.begun")


async def test_the_nth_pass_alone() -> None:
    faults.install(injector(parse(["*:repeat:nth=2"]), seed=0))

    assert [await buggify("claim.begun") for _ in range(4)] == [False, True, False, False]


async def test_chance_comes_again_with_its_seed() -> None:
    async def drawn(seed: int) -> list[bool]:
        faults.install(injector(parse(["claim.begun:repeat:p=0.5"]), seed))
        return [await buggify("claim.begun") for _ in range(64)]

    assert await drawn(1) == await drawn(1) != await drawn(2)


async def test_a_delay_holds_up_its_own_task_alone() -> None:
    faults.install(injector([Fault("claim.begun", Action.DELAY, seconds=3600)], seed=0))
    held = asyncio.create_task(buggify("claim.begun"))
    await let_others_run()

    assert await buggify("claim.committed") is False
    assert not held.done()
    held.cancel()


async def test_a_kill_is_a_kill() -> None:
    program = (
        "import asyncio; from app.core import faults\n"
        "faults.install(faults.injector(faults.parse(['claim.begun:kill']), 0))\n"
        "asyncio.run(faults.buggify('claim.begun')); print('alive')"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()

    assert (process.returncode, said) == (-signal.SIGKILL, b"")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("nowhere:kill", "no fault point"),
        ("claim.begun", "nothing is none of"),
        ("claim.begun:explode", "explode is none of"),
        ("claim.begun:kill:nth=x", "nth=x is none of"),
        ("claim.begun:kill:often", "often is none of"),
    ],
)
def test_what_means_nothing_is_refused(entry: str, why: str) -> None:
    with pytest.raises(FaultsInvalid, match=why):
        parse([entry])


def test_options_are_read() -> None:
    (fault,) = parse(["*:delay:p=0.25:s=0.5"])

    assert (fault.point, fault.action, fault.probability, fault.seconds) == ("*", Action.DELAY, 0.25, 0.5)
    assert sum(fault.is_due("claim.begun", random.Random(3)) for _ in range(100)) in (0, 100)
