from app.processes.restarts import BACKOFF_S, BUDGET, REFILL_S, Restarts


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_child_that_served_is_started_again_at_once() -> None:
    restarts = Restarts(FakeClock())

    assert [restarts.next_s(served_s=5.0) for _ in range(20)] == [0.0] * 20


def test_a_child_that_dies_at_its_start_is_started_ever_more_slowly() -> None:
    restarts = Restarts(FakeClock())

    waits = [restarts.next_s(served_s=0.0) for _ in range(6)]

    assert waits == [*BACKOFF_S[1:], BACKOFF_S[-1], BACKOFF_S[-1]]


def test_the_budget_ends_and_comes_back_with_time() -> None:
    clock = FakeClock()
    restarts = Restarts(clock)
    assert None not in [restarts.next_s(served_s=5.0) for _ in range(BUDGET)]
    assert restarts.next_s(served_s=5.0) is None

    clock.now_s += 2 * REFILL_S

    assert [restarts.next_s(served_s=5.0) for _ in range(3)] == [0.0, 0.0, None]
