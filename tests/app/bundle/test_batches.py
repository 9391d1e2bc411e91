"""No batch of rows that nobody waits for outgrows the memory."""

from hypothesis import given
from hypothesis import strategies as st

from app.bundle.batches import most_rows, slices


@given(
    lengths=st.lists(st.integers(1, 40), max_size=60),
    batch_size=st.integers(1, 9),
    most_tokens=st.integers(1, 100),
)
def test_batches_hold_every_row_in_order_within_both_limits(
    lengths: list[int], batch_size: int, most_tokens: int
) -> None:
    rows = [range(length) for length in lengths]

    batches = [rows[part] for part in slices(rows, batch_size, most_tokens=most_tokens)]

    assert [row for batch in batches for row in batch] == rows
    for batch in batches:
        longest = max(len(row) for row in batch)
        assert len(batch) == 1 or len(batch) <= min(batch_size, most_rows(longest, most_tokens))


def test_rows_of_512_tokens_fill_a_batch_and_longer_ones_make_it_smaller() -> None:
    assert [most_rows(length) for length in (1, 512, 513, 8192, 20_000)] == [16_384, 32, 31, 2, 1]
