"""The judgements of faults, on what a fault leaves behind, with and without a planted one."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest

from app.bundle.open import open_bundle
from app.bundle.store import bundle_dir
from app.engine.load import load_model
from app.types import Ids
from benchmarks.chaos import common, memory, poison
from benchmarks.chaos.fair import dealt
from benchmarks.chaos.kills import changes
from benchmarks.chaos.made import numbered, words_of
from benchmarks.chaos.overload import TINY
from benchmarks.chaos.terms import term
from benchmarks.ledger import Ledger, Outcome
from benchmarks.schema import Sample
from benchmarks.texts import Counted
from tests.benchmarks.results import load

COUNT = 40


def samples(mib: Callable[[int], float]) -> list[Sample]:
    return [Sample(requests=1000 * step, mib=mib(step)) for step in range(COUNT + 1)]


def test_memory_that_wavers_has_no_slope() -> None:
    rng = Random(1)

    found = memory.judged("m", samples(lambda _: 500 + rng.uniform(-1, 1)), warm_up=10, not_right=0)

    assert abs(found.growth) < 0.005
    assert not found.has_slope


def test_a_leak_is_a_slope() -> None:
    rng = Random(1)

    found = memory.judged("m", samples(lambda step: 500 + 0.1 * step + rng.uniform(-0.5, 0.5)), warm_up=10, not_right=0)

    assert found.has_slope
    assert found.slope == pytest.approx(2 / 500, rel=0.5)  # 2 MiB over the second half


def test_memory_that_grows_at_first_and_then_stays_has_no_slope() -> None:
    found = memory.judged("m", samples(lambda step: 500 + min(step, 10) * 0.2), warm_up=10, not_right=0)

    assert found.growth == pytest.approx(0.004, abs=0.001)
    assert not found.has_slope


def test_ready_is_followed_from_the_kill_on() -> None:
    seen = [(9.0, False), (9.5, True), (10.1, True), (10.2, False), (12.0, False), (13.0, True), (14.0, False)]

    assert changes(seen, since_s=10.0) == (0.2, 3.0)
    assert changes(seen[:5], since_s=10.0) == (0.2, None)
    assert changes(seen[:3], since_s=10.0) == (None, None)


def ledger_of(rows: list[tuple[float, float, Outcome]]) -> Ledger:
    """Sent, done, outcome."""
    ledger = Ledger(len(rows))
    for index, (sent_s, done_s, outcome) in enumerate(rows):
        ledger.sent_s[index] = sent_s
        if outcome is not Outcome.UNSENT:
            ledger.settle(index, outcome, done_s)
    return ledger


def test_a_stop_is_judged_by_what_had_been_sent_before_it() -> None:
    nan = float("nan")
    ledger = ledger_of(
        [
            (8.0, 9.0, Outcome.RIGHT),  # answered before: not in the house
            (9.0, 11.0, Outcome.RIGHT),  # drained
            (9.9, 11.0, Outcome.RESET),  # sent before and dropped
            (9.9, 12.0, Outcome.SHED),  # sent before and refused: not answered right
            (10.1, 10.2, Outcome.RESET),  # too late
            (nan, 10.3, Outcome.RESET),  # never got out
            (nan, nan, Outcome.UNSENT),
        ]
    )

    found = term(ledger, at_s=10.0, exit_code=0, exit_s=1.0)

    assert (found.sent_before, found.unanswered, found.wrong) == (3, 2, 0)


def test_refusals_under_load_were_not_let_in() -> None:
    assert common.unanswered(load(asked=100, answered=90, shed=10)) == 0
    assert common.unanswered(load(asked=100, answered=90, shed=8, reset=1, lost=1)) == 2


def test_texts_are_dealt_so_that_all_hands_have_other_texts_of_like_length() -> None:
    rng = Random(1)
    texts = [Counted(f"text {number}", rng.randint(5, 200)) for number in range(1001)]

    hands = dealt(texts, 10)

    dealt_texts = [text for hand in hands for text in hand]
    assert [len(hand) for hand in hands] == [100] * 10
    assert len(set(dealt_texts)) == 1000
    assert max(max(row) - min(row) for row in zip(*[[t.tokens for t in hand] for hand in hands], strict=True)) <= 5
    assert [text.tokens for text in hands[0]] != sorted(text.tokens for text in hands[0])


def test_numbered_texts_are_all_different() -> None:
    words = words_of(TINY.models_dir, TINY.model)

    texts = {numbered(words, number, 3) for number in range(5000)}

    assert len(texts) == 5000
    assert {len(text.split()) for text in texts} == {3}
    with pytest.raises(ValueError, match="do not hold"):
        numbered(words, len(words) ** 2, 2)


def test_the_planted_bundle_is_whole_and_fails_for_the_planted_word_alone(tmp_path: Path) -> None:
    poison.plant(TINY, tmp_path)
    folder = bundle_dir(tmp_path / "store", TINY.model, 1)

    model = load_model(folder, "cpu", lanes=1)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    planted = next(token["id"] for token in tokenizer["added_tokens"] if token["content"] == poison.WORD)
    fine: Ids = np.array(model.probe, np.int32)
    bad: Ids = np.append(fine, np.int32(planted))

    assert open_bundle(folder).manifest.name == TINY.model
    assert model.lane.run([fine])
    with pytest.raises(Exception, match="out of data bounds"):
        model.lane.run([fine, bad])
