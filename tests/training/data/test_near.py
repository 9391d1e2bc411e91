"""Texts that are nearly those of train are found, and no others."""

import random

import numpy as np
import pytest

from training.data.findings import Finding
from training.data.near import HASHES, NEAR, jaccard, near_overlaps, signatures
from training.data.rows import Row

SENTENCE = "how do i top up my card with a cheque or cash from another bank while abroad is there any fee for this"
WORDS = SENTENCE.split()


def rows(name: str, texts: list[str]) -> list[Row]:
    return [Row(text, f"{name}:{number}") for number, text in enumerate(texts, start=1)]


def sentences(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randint(4, 14))) for _ in range(count)]


def typo(text: str, chance: random.Random) -> str:
    place = chance.randrange(len(text))
    return text[:place] + "x" + text[place + 1 :]


@pytest.mark.parametrize(
    ("text", "other", "near"),
    [
        ("How do I top up my card?", "how do i top up my card", True),
        ("How do I top up my card?", "how do i topp up my card", True),
        ("上海今天下雨吗，明天的天气怎么样", "上海今天下雨吗？明天的天气怎么样！", True),
        ("How do I top up my card?", "my card was declined abroad", False),
        ("ab", "abc", False),
        ("😀", "😡", False),
    ],
    ids=["signs", "a letter", "Chinese", "another sentence", "shorter than a piece", "signs alone"],
)
def test_near_texts_are_told_from_others(text: str, other: str, near: bool) -> None:
    found = near_overlaps(rows("train", ["something else", other]), rows("test", ["and more", text]))

    assert [(finding.where, finding.other) for finding in found] == ([("test:2", "train:2")] if near else [])


def test_the_same_text_is_no_near_one() -> None:
    """It is an exact overlap, which is counted apart."""
    assert near_overlaps(rows("train", ["How are  you"]), rows("test", ["how are you "])) == []


def test_every_side_of_a_pair_is_looked_at() -> None:
    train = [Row("a first sentence of train", "train:1", positive="the second sentence of this pair")]
    test = [Row("nothing like it", "test:1", positive="the second sentence of this pair!")]

    assert near_overlaps(train, test) == [Finding("test:1", "train:1", "1.00 alike")]


def test_what_is_found_is_what_comparing_each_with_each_finds() -> None:
    """1,500 texts are two chunks; of forty with a typo nearly all are near."""
    chance = random.Random(1)
    train = sentences(1500, seed=2)
    test = sentences(20, seed=3) + [typo(text, chance) for text in chance.sample(train, 40)]
    close = {
        f"test:{number}"
        for number, text in enumerate(test, start=1)
        if any(other != text and jaccard(text, other) >= NEAR for other in train)
    }

    found = near_overlaps(rows("train", train), rows("test", test))

    assert len(close) > 30
    assert {finding.where for finding in found} <= close
    assert len(found) >= 0.97 * len(close)
    for finding in found:
        mine, its = (int(place.split(":")[1]) - 1 for place in (finding.where, finding.other))
        assert finding.detail == f"{jaccard(test[mine], train[its]):.2f} alike"


def test_equal_hashes_measure_the_similarity() -> None:
    """The estimate is unbiased: over many pairs its errors cancel out."""
    texts = sentences(400, seed=4)
    signatures_UH = signatures(texts)

    errors = [
        float((signatures_UH[one] == signatures_UH[other]).mean()) - jaccard(texts[one], texts[other])
        for one in range(0, 400, 2)
        for other in (one + 1,)
    ]

    assert signatures_UH.shape == (400, HASHES)
    assert abs(np.mean(errors)) < 0.01
    assert np.std(errors) < 0.05


def test_thousands_of_texts_of_one_template_are_soon_done() -> None:
    """Each is near each: comparing all with all would take ten million comparisons."""
    train, test = (
        [f"please turn on the light number {number}" for number in span] for span in (range(5000), range(5000, 7000))
    )

    assert len(near_overlaps(rows("train", train), rows("test", test))) == 2000
