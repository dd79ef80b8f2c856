"""What a soak runs, and how it tells of failures."""

import pytest

from scripts.soak import KILLS, PARTS, Result, arguments, failures_of, jobs_of, summary


@pytest.mark.parametrize("count", [1, 9, 10, 11, 1000])
def test_every_seed_is_run_once(count: int) -> None:
    _, jobs = jobs_of("simulation", arguments(["simulation", "--seeds", str(count), "--first-seed", "7"]))
    seeds = [
        seed
        for job in jobs
        for seed in range(int(job.environment["SIMULATION_FIRST_SEED"]), int(job.environment["SIMULATION_SEEDS"]))
    ]
    assert seeds == list(range(7, 7 + count))


def test_every_step_of_the_model_is_run_once() -> None:
    unit, jobs = jobs_of("model", arguments(["model", "--steps", "100000"]))
    assert unit == "steps"
    assert sum(int(job.environment["MODEL_STEPS"]) for job in jobs) == 100_000
    firsts = [int(job.environment["MODEL_FIRST_SEED"]) for job in jobs]
    assert firsts == list(range(1000, 1400, 10))


def test_kills_and_engines_take_their_measure_from_the_environment() -> None:
    (kills,) = jobs_of("kills", arguments(["kills", "--kills", "50"]))[1]
    (engines,) = jobs_of("engines", arguments(["engines", "--minutes", "2"]))[1]
    assert (kills.environment, kills.units) == ({"KILLS": "50"}, 100)
    assert engines.environment == {"ENGINE_SECONDS": "120.0"}


def test_a_cluster_burns_with_the_crowd_that_the_promise_names() -> None:
    unit, (chaos,) = jobs_of("chaos", arguments(["chaos"]))
    assert (unit, chaos.units) == ("seconds", 120)
    wanted = {"CHAOS_SECONDS": "120", "CHAOS_USERS": "50", "CHAOS_READERS": "200", "CHAOS_ENDPOINTS": "20"}
    assert chaos.environment == {"TEST_MODE": "full", **wanted}


def test_a_failing_seed_is_told_with_the_command_that_repeats_it() -> None:
    _, (job, *_) = jobs_of("simulation", arguments(["simulation"]))
    output = "FAILED tests/simulation/test_simulation.py::test_the_promises_hold[3] - AssertionError: no\n1 failed\n"
    (failure,) = failures_of(job, "full", output)
    assert failure.why == "AssertionError: no"
    assert failure.command == (
        "TEST_MODE=full SOAK=1 SIMULATION_FIRST_SEED=3 SIMULATION_SEEDS=4 "
        ".venv/bin/python -m pytest -q 'tests/simulation/test_simulation.py::test_the_promises_hold[3]'"
    )


def test_a_failure_of_a_fixture_is_told_too() -> None:
    _, (job,) = jobs_of("kills", arguments(["kills", "--kills", "50"]))
    output = "ERROR tests/integration/engine/test_kill.py::test_every_invariant_holds[btc] - AssertionError: late\n"
    (failure,) = failures_of(job, "embedded", output)
    assert failure.command.startswith("TEST_MODE=embedded SOAK=1 KILLS=50 .venv/bin/python -m pytest -q ")


def test_what_was_left_out_has_failed() -> None:
    _, (job,) = jobs_of("kills", arguments(["kills", "--kills", "50"]))
    output = "ss\nSKIPPED [2] tests/integration/engine/test_kill.py:67: no recorded market data\n2 skipped in 0.50s\n"
    (failure,) = failures_of(job, "full", output)
    assert (failure.test, failure.why) == (KILLS, "left out: no recorded market data")


def test_the_summary_has_a_row_for_each_part() -> None:
    assert summary([Result(part, "seeds") for part in PARTS]).row_count == len(PARTS)
