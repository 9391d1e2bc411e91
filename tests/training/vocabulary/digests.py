"""Prints the sha256 of a trained tokenizer of each kind: run in processes of their own, it must be the same in all."""

import hashlib
import random
from typing import Literal

from training.recipe.encoder import TokenizerTable
from training.vocabulary import train_tokenizer

KINDS: tuple[Literal["wordpiece", "bpe", "characters"], ...] = ("wordpiece", "bpe", "characters")


def texts() -> list[str]:
    """Words of few letters, so that many pairs are equally frequent."""
    draw = random.Random(5)
    words = ["".join(draw.choices("abcdeéfgh", k=draw.randint(1, 6))) for _ in range(150)]
    return [" ".join(draw.choices(words, k=6)) for _ in range(200)]


def digests(lines: list[str]) -> list[str]:
    tables = [TokenizerTable(kind=kind, size=400) for kind in KINDS]
    return [hashlib.sha256(train_tokenizer(table, lines).to_str().encode()).hexdigest() for table in tables]


if __name__ == "__main__":
    print(*digests(texts()))
