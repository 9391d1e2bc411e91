"""The scheduler as lanes see it, without threads: what is added, taken, settled and dropped."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.jobs import Batch, Job, Ran
from app.engine.scheduler import Scheduler
from app.errors import DeadlineExceededError, EngineFailedError
from app.types import Answer, Cost, Flow, Ids, ModelKey, Work
from tests.app.engine.fakes import KEY, ids

OTHER = ModelKey("other", 2)
COSTS = {KEY: Cost(10.0, 0.1, 2), OTHER: Cost(5.0, 0.2, 2)}


def job(*rows: Ids, model: ModelKey = KEY, deadline_s: float = 100.0, principal: str = "") -> Job:
    return Job(Work(model, rows, deadline_s, Flow(principal, "interactive")), arrived_s=0.0)


def ran(batch: Batch, *, bad: Sequence[int] = ()) -> Ran:
    """Every row's answer is its sum; rows that hold a token of `bad` fail."""
    failed = [row for row in batch.rows if np.isin(row.ids, bad).any()]
    rows = [row for row in batch.rows if row not in failed]
    outputs = {"out": np.array([[row.ids.sum()] for row in rows], np.float32)} if rows else {}
    return Ran(rows, outputs, [(row, RuntimeError("poison")) for row in failed], started_s=1.0, run_s=0.5)


def run_all(scheduler: Scheduler, *, bad: Sequence[int] = ()) -> int:
    """Run until nothing waits; how many rows ran."""
    rows = 0
    while (batch := scheduler.next_batch(0.0)) is not None:
        rows += len(batch.rows)
        scheduler.settle(ran(batch, bad=bad))
    return rows


def sums(ended: Job) -> list[float]:
    assert isinstance(ended.outcome, Answer)
    return [float(value) for value in ended.outcome.outputs["out"][:, 0]]


token_rows = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=5)


@given(
    requests=st.lists(st.tuples(token_rows, st.sampled_from([KEY, OTHER])), max_size=12),
    dropped=st.sets(st.integers(0, 11)),
)
def test_every_job_that_is_not_dropped_ends_once_and_right(
    requests: list[tuple[list[list[int]], ModelKey]], dropped: set[int]
) -> None:
    """Many of these rows are equal, within a job and between jobs; both models see the same ids."""
    scheduler = Scheduler(COSTS)
    jobs = [job(*(ids(*row) for row in rows), model=model) for rows, model in requests]
    for each in jobs:
        scheduler.add(each)
    gone = [jobs[number] for number in dropped if number < len(jobs)]
    for each in gone:
        scheduler.drop(each)

    runs = run_all(scheduler)

    ended = scheduler.take_ended()
    assert Counter(map(id, ended)) == Counter(id(each) for each in jobs if each not in gone)
    for each in ended:
        assert sums(each) == [float(row.sum()) for row in each.work.rows]
    assert runs == len({(each.work.model, row.tobytes()) for each in ended for row in each.work.rows})
    assert (len(scheduler), len(scheduler._wanted)) == (0, 0)


def test_equal_texts_that_wait_or_run_are_run_once() -> None:
    scheduler = Scheduler(COSTS)
    scheduler.add(job(ids(1, 2), ids(1, 2)))
    scheduler.add(job(ids(1, 2)))
    batch = scheduler.next_batch(0.0)
    assert batch is not None
    scheduler.add(job(ids(1, 2)))  # while it runs

    scheduler.settle(ran(batch))

    assert [len(row.ids) for row in batch.rows] == [2]
    assert [sums(ended) for ended in scheduler.take_ended()] == [[3.0, 3.0], [3.0], [3.0]]
    assert scheduler.joined == 3


def test_the_failure_of_a_shared_text_reaches_everybody_who_asked_for_it() -> None:
    scheduler = Scheduler(COSTS)
    for each in (job(ids(1), ids(9)), job(ids(9)), job(ids(1))):
        scheduler.add(each)

    run_all(scheduler, bad=[9])

    outcomes = [ended.outcome for ended in scheduler.take_ended()]
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "Answer",
        "EngineFailedError",
        "EngineFailedError",
    ]
    assert sorted(outcome.index or 0 for outcome in outcomes if isinstance(outcome, EngineFailedError)) == [0, 1]


def test_a_text_goes_on_waiting_for_whoever_allows_more_time() -> None:
    scheduler = Scheduler(COSTS)
    hasty, patient = job(ids(4), deadline_s=1.0), job(ids(4), deadline_s=50.0)
    scheduler.add(hasty)
    scheduler.add(patient)

    scheduler.expire(2.0)

    (ended,) = scheduler.take_ended()
    assert ended is hasty
    assert isinstance(ended.outcome, DeadlineExceededError)
    assert run_all(scheduler) == 1
    assert [sums(each) for each in scheduler.take_ended()] == [[4.0]]


def test_a_job_that_expires_takes_all_its_rows_along() -> None:
    scheduler = Scheduler(COSTS)
    scheduler.add(job(ids(1), ids(2), ids(3), deadline_s=1.0))

    assert scheduler.next_batch(1.0) is None
    assert len(scheduler.take_ended()) == 1
    assert (len(scheduler), len(scheduler._wanted)) == (0, 0)


def test_what_waits_is_spread_over_the_lanes_that_are_free() -> None:
    scheduler = Scheduler({KEY: Cost(1000.0, 0.1, 2)})
    scheduler.add(job(*(ids(*range(n, n + 8)) for n in range(8))))

    first = scheduler.next_batch(0.0, spread=2)
    second = scheduler.next_batch(0.0, spread=1)

    assert first is not None
    assert second is not None
    assert (len(first.rows), len(second.rows)) == (4, 4)
    assert (first.is_alone, second.is_alone) == (False, True)


def test_a_greedy_caller_waits_behind_himself() -> None:
    scheduler = Scheduler({KEY: Cost(1e-6, 0.1, 1)})  # runs have no fixed price: every row runs alone
    for number in range(1000):
        scheduler.add(job(ids(number), principal="greedy"))
    scheduler.add(job(ids(5000), principal="polite"))

    order = []
    for _ in range(3):
        batch = scheduler.next_batch(0.0)
        assert batch is not None
        order += [int(row.ids[0]) for row in batch.rows]
        scheduler.settle(ran(batch))

    assert 5000 in order


def test_a_greedy_caller_of_one_model_waits_behind_himself_at_another_too() -> None:
    scheduler = Scheduler(COSTS)
    for number in range(200):
        scheduler.add(job(ids(*[number] * 60), principal="greedy"))
    for _ in range(3):  # it has been served for a while, alone
        batch = scheduler.next_batch(0.0)
        assert batch is not None
        scheduler.settle(ran(batch))
    scheduler.add(job(ids(7), ids(8, 8), model=OTHER, principal="polite", deadline_s=200.0))

    batches = [scheduler.next_batch(0.0) for _ in range(2)]

    assert OTHER in [batch.model for batch in batches if batch is not None]


def test_a_text_that_somebody_more_urgent_wants_goes_with_him() -> None:
    scheduler = Scheduler(COSTS)
    for number in range(100):
        scheduler.add(job(ids(*[1] * number, 2), principal="greedy"))
    batch = scheduler.next_batch(0.0)
    assert batch is not None
    scheduler.settle(ran(batch))
    wanted = ids(*[1] * 99, 2)  # the greedy caller's last
    assert wanted.tobytes() not in [row.ids.tobytes() for row in batch.rows]

    scheduler.add(job(wanted, principal="polite"))
    batches = [scheduler.next_batch(0.0) for _ in range(2)]

    assert wanted.tobytes() in [row.ids.tobytes() for batch in batches if batch is not None for row in batch.rows]
    assert len(scheduler)


def test_a_request_waited_until_its_first_text_ran() -> None:
    scheduler = Scheduler(COSTS, cache_bytes=10_000)
    scheduler.add(job(ids(1)))
    run_all(scheduler)
    scheduler.take_ended()
    scheduler.add(job(ids(1), ids(2, 2), ids(*[3] * 200)))
    for started_s in (3.0, 8.0):
        batch = scheduler.next_batch(0.0)
        assert batch is not None
        scheduler.settle(replace(ran(batch), started_s=started_s))

    (ended,) = scheduler.take_ended()
    assert isinstance(ended.outcome, Answer)
    assert ended.outcome.timing.queue_s == 3.0


def test_outputs_are_kept_up_to_their_limit_and_the_oldest_go_first() -> None:
    scheduler = Scheduler(COSTS, cache_bytes=1500)
    for value in (1, 2, 3, 1, 4, 5, 1, 2):
        scheduler.add(job(ids(value)))
        run_all(scheduler)

    assert [sums(ended) for ended in scheduler.take_ended()] == [[float(v)] for v in (1, 2, 3, 1, 4, 5, 1, 2)]
    assert scheduler.cached == 2  # the 1, twice; the 2 had gone
    assert 0 < scheduler._cache.size_bytes <= 1500


def test_what_failed_is_not_kept() -> None:
    scheduler = Scheduler(COSTS, cache_bytes=10**6)
    scheduler.add(job(ids(9)))
    run_all(scheduler, bad=[9])
    scheduler.add(job(ids(9)))
    run_all(scheduler)

    assert [type(ended.outcome) for ended in scheduler.take_ended()] == [EngineFailedError, Answer]


@pytest.mark.parametrize("cache_bytes", [0, 10**6], ids=["no cache", "cache"])
def test_models_do_not_answer_for_each_other(cache_bytes: int) -> None:
    scheduler = Scheduler(COSTS, cache_bytes=cache_bytes)
    for model in (KEY, OTHER):
        scheduler.add(job(ids(1, 2), model=model))
        assert run_all(scheduler) == 1
