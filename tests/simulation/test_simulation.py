"""Whole histories decided by one seed: servers die and pause, answers are lost, prices jump; the promises hold."""

import os

import pytest

from tests.conftest import MakeDatabase
from tests.simulation.world import World

SEEDS = range(int(os.environ.get("SIMULATION_FIRST_SEED", "0")), int(os.environ.get("SIMULATION_SEEDS", "50")))
STEPS = 60


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_promises_hold(simulated_database: MakeDatabase, seed: int) -> None:
    async with World(simulated_database(), seed) as world:
        for _ in range(STEPS):
            await world.step()
        await world.settle()
        await world.verify()
