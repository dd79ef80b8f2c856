"""Long random runs against a simple model: after every step what must hold holds, and nothing shown is taken back."""

import os

import pytest

from tests.conftest import MakeDatabase
from tests.simulation.world import Chances, World

STEPS = int(os.environ.get("MODEL_STEPS", "2000"))
FIRST_SEED = int(os.environ.get("MODEL_FIRST_SEED", "1000"))
# A world grows slow with its history: each of them takes so many steps.
STEPS_EACH = 250


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + max(1, STEPS // STEPS_EACH)))
async def test_nothing_that_was_shown_is_taken_back(simulated_database: MakeDatabase, seed: int) -> None:
    async with World(simulated_database(), seed) as world:
        world.chances = Chances(death=0.002)
        for _ in range(STEPS_EACH):
            await world.step()
        await world.settle()
        await world.verify()
