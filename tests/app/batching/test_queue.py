from collections.abc import Iterable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from app.batching.flows import Flows
from app.batching.queue import CROWD_BATCHES, LengthQueue, Waiting
from app.types import ANYONE, Flow

Row = Waiting[int]


def lengths_and_deadlines() -> st.SearchStrategy[list[tuple[int, float]]]:
    return st.lists(st.tuples(st.integers(1, 300), st.floats(0, 100)), max_size=60)


def filled(rows: list[tuple[int, float]]) -> LengthQueue[int]:
    queue: LengthQueue[int] = LengthQueue()
    for number, (tokens, deadline_s) in enumerate(rows):
        queue.push(Waiting(tokens, deadline_s, ANYONE, number))
    return queue


def batches_of(queue: LengthQueue[int], budget_tokens: int, max_rows: int) -> Iterator[list[Row]]:
    while batch := queue.take(budget_tokens=budget_tokens, max_rows=max_rows):
        yield batch


def padded(batch: list[Row]) -> int:
    return len(batch) * max(row.tokens for row in batch)


@given(rows=lengths_and_deadlines(), budget=st.integers(1, 2000), max_rows=st.integers(1, 20))
def test_every_row_leaves_exactly_once(rows: list[tuple[int, float]], budget: int, max_rows: int) -> None:
    queue = filled(rows)

    taken = [row.payload for batch in batches_of(queue, budget, max_rows) for row in batch]

    assert sorted(taken) == list(range(len(rows)))
    assert len(queue) == 0


@given(rows=lengths_and_deadlines(), budget=st.integers(1, 2000), max_rows=st.integers(1, 20))
def test_a_batch_of_several_rows_stays_within_the_budget(
    rows: list[tuple[int, float]], budget: int, max_rows: int
) -> None:
    for batch in batches_of(filled(rows), budget, max_rows):
        assert len(batch) == 1 or padded(batch) <= budget
        assert len(batch) <= max_rows


@given(rows=lengths_and_deadlines(), budget=st.integers(1, 2000))
def test_the_oldest_deadline_is_in_the_next_batch(rows: list[tuple[int, float]], budget: int) -> None:
    queue = filled(rows)
    waiting = [deadline_s for _, deadline_s in rows]

    for batch in batches_of(queue, budget, 16):
        assert min(waiting) in [row.deadline_s for row in batch]
        for row in batch:
            waiting.remove(row.deadline_s)


@given(rows=lengths_and_deadlines(), join_tokens=st.integers(0, 50))
def test_no_row_adds_more_padding_than_it_may(rows: list[tuple[int, float]], join_tokens: int) -> None:
    queue = filled(rows)

    while batch := queue.take(budget_tokens=10_000, max_rows=16, join_tokens=join_tokens):
        waste = padded(batch) - sum(row.tokens for row in batch)
        assert waste <= join_tokens * (len(batch) - 1)


@given(rows=lengths_and_deadlines(), budget=st.integers(1, 2000), join_tokens=st.integers(0, 50))
def test_who_stays_behind_is_younger_or_of_another_length(
    rows: list[tuple[int, float]], budget: int, join_tokens: int
) -> None:
    """No row that stays behind has a length between those of the batch and is older than a mate of the deciding row."""
    queue = filled(rows)
    left = dict(enumerate(rows))

    while batch := queue.take(budget_tokens=budget, max_rows=16, join_tokens=join_tokens):
        for row in batch:
            del left[row.payload]
        shortest, longest = min(row.tokens for row in batch), max(row.tokens for row in batch)
        youngest_s = max(row.deadline_s for row in batch)
        between_s = [deadline_s for tokens, deadline_s in left.values() if shortest <= tokens <= longest]
        assert len(batch) == 1 or all(youngest_s <= deadline_s for deadline_s in between_s)


@given(rows=lengths_and_deadlines(), now_s=st.floats(0, 100))
def test_expire_removes_the_rows_past_their_deadline_and_no_others(rows: list[tuple[int, float]], now_s: float) -> None:
    queue = filled(rows)

    expired = queue.expire(now_s)

    assert sorted(row.payload for row in expired) == [
        i for i, (_, deadline_s) in enumerate(rows) if deadline_s <= now_s
    ]
    assert len(queue) == len(rows) - len(expired)


@given(rows=lengths_and_deadlines(), data=st.data())
def test_discarded_rows_never_come_up_and_discarding_twice_is_nothing(
    rows: list[tuple[int, float]], data: st.DataObject
) -> None:
    queue = filled(rows)
    gone = data.draw(st.sets(st.sampled_from(range(len(rows))))) if rows else set()

    assert queue.discard(gone) == len(gone)
    assert queue.discard(gone) == 0
    taken = {row.payload for batch in batches_of(queue, 500, 16) for row in batch}
    assert taken == set(range(len(rows))) - gone


@given(mine=lengths_and_deadlines(), theirs=lengths_and_deadlines(), budget=st.integers(1, 300))
def test_a_flow_that_comes_later_does_not_wait_behind_a_longer_one(
    mine: list[tuple[int, float]], theirs: list[tuple[int, float]], budget: int
) -> None:
    """Whatever both have queued, neither is ever ahead of the other by more than one batch and one row."""
    queue: LengthQueue[str] = LengthQueue(Flows())
    for name, rows in (("greedy", mine), ("polite", theirs)):
        for tokens, deadline_s in rows:
            queue.push(Waiting(tokens, deadline_s, Flow(name, "interactive"), name))
    served = {"greedy": 0, "polite": 0}
    left = {"greedy": len(mine), "polite": len(theirs)}

    while batch := queue.take(budget_tokens=budget, max_rows=8):
        for row in batch:
            served[row.payload] += row.tokens
            left[row.payload] -= 1
        if all(left.values()):
            assert abs(served["greedy"] - served["polite"]) <= 2 * max(budget, 300)


def test_a_row_of_any_flow_may_join_as_a_neighbour() -> None:
    queue: LengthQueue[int] = LengthQueue(Flows())
    for number, name in enumerate(("a", "b", "a", "c")):
        queue.push(Waiting(10, float(number), Flow(name, "interactive"), number))

    batch = queue.take(budget_tokens=1000, max_rows=8)

    assert sorted(row.payload for row in batch) == [0, 1, 2, 3]


def crowded(rows: int, others: Iterable[str]) -> LengthQueue[str]:
    """So many rows of one flow wait, and one of each of the others, whose turn it is; all have ten tokens."""
    queue: LengthQueue[str] = LengthQueue(Flows())
    for number in range(rows):
        queue.push(Waiting(10, 1.0 + number, Flow("crowd", "interactive"), "crowd"))
    for name in others:
        queue.push(Waiting(10, 0.0, Flow(name, "interactive"), name))
    return queue


def names(batch: list[Waiting[str]]) -> list[str]:
    return sorted(row.payload for row in batch)


def test_a_crowd_does_not_make_the_batch_of_another_longer() -> None:
    queue = crowded(10 * CROWD_BATCHES + 1, ["polite"])

    assert names(queue.take(budget_tokens=100, max_rows=100)) == ["polite"]
    assert names(queue.take(budget_tokens=100, max_rows=100)) == ["crowd"] * 10


def test_others_share_a_batch_beside_a_crowd_as_ever() -> None:
    queue = crowded(10 * CROWD_BATCHES + 1, [f"polite {number}" for number in range(25)])

    assert len(queue.take(budget_tokens=100, max_rows=100)) == 10


def test_a_flow_that_fills_a_few_batches_is_no_crowd() -> None:
    queue = crowded(10 * CROWD_BATCHES, ["polite"])

    assert names(queue.take(budget_tokens=100, max_rows=100)) == ["crowd"] * 9 + ["polite"]


def test_a_crowd_that_has_gone_is_forgotten() -> None:
    queue = crowded(10 * CROWD_BATCHES + 1, ["polite", "other"])

    queue.expire(now_s=2.0)  # one row too many of the crowd, and the others
    queue.push(Waiting(10, 0.0, Flow("polite", "interactive"), "polite"))

    assert names(queue.take(budget_tokens=100, max_rows=100)) == ["crowd"] * 9 + ["polite"]
