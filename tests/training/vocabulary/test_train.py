"""Tokenizers that learn from texts: always the same, never without a token, never to be forged."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.training.vocabulary.digests import KINDS, digests, texts
from training.export.golden import hard_texts
from training.recipe.encoder import TokenizerTable
from training.vocabulary import CLS, PAD, SEP, UNKNOWN, train_tokenizer

PROCESSES = 20
SENTENCES = ["Play some jazz", "play the news", "Stop playing jazz", "naïve cafés play no jazz", "café"]

Kind = pytest.mark.parametrize("kind", KINDS)


def trained(kind: str, lines: list[str] = SENTENCES, **changes: object) -> Tokenizer:
    return train_tokenizer(TokenizerTable.model_validate({"kind": kind, "size": 400, **changes}), lines)


@pytest.mark.slow
def test_the_same_texts_give_the_same_tokenizer_in_every_process() -> None:
    """Each has a seed of its own for the hashes that sets and dictionaries go by."""
    root = Path(__file__).parents[3]

    def run(seed: int) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        command = [sys.executable, "-m", "tests.training.vocabulary.digests"]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=root, env=environment, timeout=100
        ).stdout

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(run, range(PROCESSES)))

    assert found == {" ".join(digests(texts())) + "\n"}


def test_the_order_of_the_texts_does_not_matter() -> None:
    assert digests(texts()[::-1]) == digests(texts())


@Kind
def test_every_text_has_tokens_of_its_own_and_two_around_them(kind: str) -> None:
    tokenizer = trained(kind)
    lines = [*hard_texts(50), "the [SEP] of [CLS] and [PAD]"]

    for encoding, text in zip(tokenizer.encode_batch(lines), lines, strict=True):
        assert (encoding.tokens[0], encoding.tokens[-1]) == (CLS, SEP), text
        assert not {CLS, SEP, PAD} & set(encoding.tokens[1:-1]), text


@Kind
def test_special_tokens_have_the_first_ids(kind: str) -> None:
    tokenizer = trained(kind)

    assert [tokenizer.token_to_id(name) for name in (PAD, UNKNOWN, CLS, SEP)] == [0, 1, 2, 3]
    assert sorted(tokenizer.get_vocab().values()) == list(range(tokenizer.get_vocab_size()))


@Kind
def test_size_is_the_most(kind: str) -> None:
    size = {"wordpiece": 40, "bpe": 310, "characters": 32}[kind]

    assert trained(kind, texts() + [chr(97 + n) * 9 for n in range(26)] * 2, size=size).get_vocab_size() == size


@Kind
def test_it_neither_pads_nor_truncates_and_survives_its_file(kind: str) -> None:
    tokenizer = trained(kind)
    again = Tokenizer.from_str(tokenizer.to_str())

    assert (tokenizer.padding, tokenizer.truncation) == (None, None)
    assert again.to_str() == tokenizer.to_str()
    assert again.encode("play jazz").ids == tokenizer.encode("play jazz").ids


@Kind
def test_lowercase_is_a_choice(kind: str) -> None:
    def same(tokenizer: Tokenizer) -> bool:
        return bool(tokenizer.encode("PLAY").ids == tokenizer.encode("play").ids)

    lines = [*SENTENCES, "PLAY", "PLAY"]
    assert same(trained(kind, lines))
    assert not same(trained(kind, lines, lowercase=False))


@Kind
def test_an_accent_written_as_a_sign_of_its_own_is_the_letter_with_it(kind: str) -> None:
    tokenizer = trained(kind, SENTENCES * 2)

    assert tokenizer.encode("cafe\u0301").ids == tokenizer.encode("caf\u00e9").ids
    assert tokenizer.encode("cafe").ids != tokenizer.encode("caf\u00e9").ids


@pytest.mark.parametrize("kind", ["wordpiece", "characters"])
def test_what_stands_once_is_unknown(kind: str) -> None:
    tokenizer = trained(kind, [*SENTENCES, "x"])

    assert tokenizer.encode("x").tokens == [CLS, UNKNOWN, SEP]


def test_no_byte_is_unknown_to_bpe() -> None:
    tokenizer = trained("bpe")

    assert all(UNKNOWN not in encoding.tokens for encoding in tokenizer.encode_batch(hard_texts(50)))


def test_frequent_words_are_one_piece() -> None:
    assert trained("wordpiece").encode("play jazz").tokens == [CLS, "play", "jazz", SEP]
    assert trained("bpe").encode("play jazz").tokens == [CLS, "Ġplay", "Ġjazz", SEP]
    assert trained("characters").encode("a y").tokens == [CLS, "a", " ", "y", SEP]


def test_a_word_of_any_length_is_learned_from() -> None:
    tokenizer = trained("bpe", ["ab" * 20_000])

    assert len(tokenizer.encode("ab" * 400).ids) < 100
