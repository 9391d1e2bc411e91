import asyncio
from collections.abc import Sequence

import pytest

from app.encoding.gather import Gatherer
from app.encoding.tokenizer import TextEncoder, Truncate
from app.errors import TextTooLongError
from app.types import Encoding
from tests.stores import byte_tokenizer


class CountingEncoder(TextEncoder):
    """Remembers what it was given at a time."""

    def __init__(self) -> None:
        super().__init__(byte_tokenizer(), max_tokens=16)
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str], truncate: Truncate, *, first: int = 0) -> list[Encoding]:
        self.calls.append(list(texts))
        return super().encode(texts, truncate, first=first)


Asked = Sequence[tuple[TextEncoder, Sequence[str], Truncate]]


def gather(asked: Asked) -> list[list[Encoding] | BaseException]:
    """What requests of one loop turn get."""

    async def ask() -> list[list[Encoding] | BaseException]:
        gatherer = Gatherer()
        return await asyncio.gather(*(gatherer.encode(*each) for each in asked), return_exceptions=True)

    return asyncio.run(ask())


def ids(answer: list[Encoding] | BaseException) -> list[list[int]]:
    assert isinstance(answer, list), answer
    return [encoding.ids.tolist() for encoding in answer]


def test_requests_of_one_turn_are_tokenised_together_and_told_apart() -> None:
    encoder = CountingEncoder()
    texts: list[Sequence[str]] = [["a"], ["bc", ""], ["d"]]

    answers = gather([(encoder, each, "end") for each in texts])

    assert encoder.calls == [["a", "bc", "", "d"]]
    assert [ids(answer) for answer in answers] == [ids(encoder.encode(each, "end")) for each in texts]


def test_models_and_ways_to_cut_are_kept_apart() -> None:
    first, second = CountingEncoder(), CountingEncoder()

    answers = gather([(first, ["a" * 20], "end"), (second, ["b"], "end"), (first, ["c" * 20], "start")])

    assert (first.calls, second.calls) == ([["a" * 20], ["c" * 20]], [["b"]])
    assert [len(answer) for answer in answers if isinstance(answer, list)] == [1, 1, 1]


def test_refused_text_is_refused_to_its_own_request_with_its_own_index() -> None:
    encoder = CountingEncoder()

    first, second, third = gather([(encoder, each, "error") for each in (["a"], ["b", "c" * 20], ["d"])])

    assert isinstance(second, TextTooLongError)
    assert second.index == 1
    assert [ids(first), ids(third)] == [ids(encoder.encode([text], "error")) for text in "ad"]


def test_cancelled_request_costs_nothing() -> None:
    encoder = CountingEncoder()

    async def cancel_one() -> None:
        gatherer = Gatherer()
        tasks = [asyncio.create_task(gatherer.encode(encoder, [text], "end")) for text in "ab"]
        asyncio.get_running_loop().call_soon(tasks[0].cancel)
        await asyncio.wait(tasks)
        assert tasks[0].cancelled()

    asyncio.run(cancel_one())

    assert encoder.calls == [["b"]]


def test_next_turn_is_another_call() -> None:
    encoder = CountingEncoder()

    async def one_by_one() -> None:
        gatherer = Gatherer()
        for text in "ab":
            await gatherer.encode(encoder, [text], "end")

    asyncio.run(one_by_one())

    assert encoder.calls == [["a"], ["b"]]


@pytest.mark.parametrize("count", [1, 50])
def test_gathered_is_the_same_as_alone(count: int) -> None:
    encoder = CountingEncoder()
    texts = [f"text {number}" for number in range(count)]

    answers = gather([(encoder, [text], "end") for text in texts])

    assert [ids(answer) for answer in answers] == [ids(encoder.encode([text], "end")) for text in texts]
