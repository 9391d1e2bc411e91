import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.encoding.tokenizer import TextEncoder, Truncate, parts, size_bytes
from app.errors import InvalidJsonError, TextTooLongError
from tests.stores import MAX_TOKENS, byte_tokenizer

ENCODER = TextEncoder(byte_tokenizer(), max_tokens=MAX_TOKENS)
CLS, SEP = 2, 3


def letters(text: str) -> list[int]:
    """The ids of a short text, without the special tokens."""
    return list(map(int, ENCODER.encode([text], "error")[0].ids[1:-1]))


def test_empty_text_is_its_special_tokens() -> None:
    (encoding,) = ENCODER.encode([""], "error")

    assert (encoding.ids.tolist(), encoding.tokens, encoding.truncated) == ([CLS, SEP], 2, False)


def test_text_of_exactly_the_limit_is_whole() -> None:
    (encoding,) = ENCODER.encode(["a" * (MAX_TOKENS - 2)], "error")

    assert (encoding.tokens, encoding.truncated) == (MAX_TOKENS, False)


def test_over_long_text_is_refused_with_its_index_its_count_and_the_way_out() -> None:
    with pytest.raises(TextTooLongError) as refusal:
        ENCODER.encode(["short", "a" * 100], "error")

    assert refusal.value.message == 'text 1 has 102 tokens; this model takes 16; send "truncate": "end"'
    assert (refusal.value.index, refusal.value.param) == (1, "texts[1]")


def test_end_is_cut_away() -> None:
    (encoding,) = ENCODER.encode(["abcdefgh" + "z" * 100], "end")

    assert encoding.ids.tolist() == [CLS, *letters("abcdefgh" + "z" * 6), SEP]
    assert encoding.truncated


def test_start_is_cut_away() -> None:
    (encoding,) = ENCODER.encode(["z" * 100 + "abcdefgh"], "start")

    assert encoding.ids.tolist() == [CLS, *letters("z" * 6 + "abcdefgh"), SEP]
    assert encoding.truncated


def test_half_of_a_surrogate_pair_is_refused_with_its_index() -> None:
    with pytest.raises(InvalidJsonError) as refusal:
        ENCODER.encode(["fine", "\ud800"], "error")

    assert refusal.value.index == 1


@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=6), truncate=st.sampled_from(["end", "start"]))
def test_a_text_has_the_same_tokens_alone_and_among_others(texts: list[str], truncate: Truncate) -> None:
    together = [encoding.ids.tolist() for encoding in ENCODER.encode(texts, truncate)]

    assert together == [ENCODER.encode([text], truncate)[0].ids.tolist() for text in texts]


@given(text=st.text(max_size=40))
def test_truncated_says_whether_the_text_was_cut(text: str) -> None:
    (encoding,) = ENCODER.encode([text], "end")

    assert encoding.truncated == (size_bytes(text) + 2 > MAX_TOKENS)
    assert encoding.tokens == min(size_bytes(text) + 2, MAX_TOKENS)


def test_estimate_counts_bytes_and_never_more_than_the_model_reads() -> None:
    assert ENCODER.estimate_tokens(["", "a" * 8, "é" * 4, "a" * 1000]) == 2 + 4 + 4 + MAX_TOKENS


@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=20), size=st.integers(1, 60))
def test_parts_are_all_texts_in_order_within_the_size_or_alone(texts: list[str], size: int) -> None:
    found = list(parts(texts, size))

    assert [text for part in found for text in part] == texts
    for part in found:
        assert len(part) == 1 or sum(map(size_bytes, part)) <= size


def test_errors_name_the_text_by_its_number_in_the_request() -> None:
    with pytest.raises(TextTooLongError) as caught:
        ENCODER.encode(["short", "long " * 1000], "error", first=7)

    assert (caught.value.index, caught.value.param) == (8, "texts[8]")
