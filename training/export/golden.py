"""Which texts, or rows of numbers, go with a bundle, and what does the model answer to them?

The texts are chosen to hurt: nothing at all, blanks, one letter, words longer than any token, scripts that the
vocabulary may not know, signs that take two code units, text that looks like a special token, text longer than the
model takes. The outputs are the torch model's own, float32, from the source's tokenizer: a device that gives them
serves what was trained.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.bundle.manifest import ClassifyHead, EmbedHead
from app.bundle.vectors import VectorInput
from training.data.collate import Input, Reader
from training.evaluate import predict
from training.export.vectors import as_json, hard_vectors
from training.modeling.model import Model

Floats = NDArray[np.float32]
Head = EmbedHead | ClassifyHead

TRAINING_TEXTS = 32  # of the model's own domain, beside the hard ones

SHORT_TEXTS: Sequence[str] = (
    "",
    " ",
    "\t\n\r ",
    "a",
    "Z",
    "7",
    ".",
    "?!",
    "hello",
    "Hello, world!",
    "turn on the kitchen lights",
    "The quick brown fox jumps over the lazy dog.",
    "TURN EVERYTHING OFF NOW",
    "e-mail: someone@example.org, https://example.org/a?b=c&d=%20#e",
    "1,234,567.89 € + 15 % = ½ × π²",
    "def f(x: int) -> int:\n    return x << 2  # code",
    '{"key": ["value", null, true], "n": -1.5e-3}',
    "naïve café, jalapeño, Ångström, façade, Straße",
    "cafe\u0301 and caf\u00e9 are the same to a reader",  # combined and precomposed
    "Wie spät ist es in München, und regnet es morgen?",
    "¿Dónde está la biblioteca más cercana?",
    "Où se trouve l’œuvre d’art ? « Ici », répondit-il.",
    "Сколько времени займёт дорога до вокзала?",
    "Πόση ώρα θέλει για να φτάσουμε;",
    "今天天气怎么样？我想去公园散步。",
    "明日の東京の天気を教えてください。",
    "내일 아침 일곱 시에 깨워 주세요",
    "ما هو الطقس غدا في القاهرة؟",
    "מה השעה עכשיו בתל אביב?",
    "कल दिल्ली में मौसम कैसा रहेगा?",
    "พรุ่งนี้ฝนจะตกไหม",
    "👍",
    "👩‍👩‍👧‍👦 love 🇩🇪 and ❤️‍🔥 but not 😢",
    "zero\u200bwidth and soft\u00adhyphen and \u202eright to left\u202c",
    "line one\u2028line two\u0085line three",
    "control \x01\x02 characters \x7f",
    "[CLS] [SEP] [PAD] [MASK] [UNK] <s> </s> <pad>",
    "a" * 300,
    "abcdefghij" * 30,
    "ha " * 120,
)


@dataclass(frozen=True, slots=True)
class Golden:
    """The raw texts, or rows of numbers, and, by output name, the torch model's outputs [B, D]."""

    texts: list[str]
    vectors: list[Floats]
    outputs: Mapping[str, Floats]

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.texts) + len(self.vectors)


def hard_inputs(reader: Reader, max_tokens: int) -> Sequence[Input]:
    """The hard texts, or numbers that hurt."""
    return hard_vectors(reader, max_tokens) if isinstance(reader, VectorInput) else hard_texts(max_tokens)


def hard_texts(max_tokens: int) -> list[str]:
    """The short texts, and one that is over-long for the model."""
    return [*SHORT_TEXTS, "word, " * max_tokens]


def record(model: Model, reader: Reader, *, training: Sequence[Input] = (), max_tokens: int, pad_id: int) -> Golden:
    """The hard inputs, some of the training's spread over all of them, and the outputs for both."""
    step = max(1, len(training) // TRAINING_TEXTS)
    chosen = [*hard_inputs(reader, max_tokens), *training[::step][:TRAINING_TEXTS]]
    texts = list(dict.fromkeys(one for one in chosen if isinstance(one, str)))
    vectors = [np.atleast_2d(one)[:max_tokens] for one in chosen if not isinstance(one, str)]
    return Golden(texts, vectors, predict(model, reader, texts or vectors, max_tokens=max_tokens, pad_id=pad_id))


def as_files(golden: Golden, heads: Sequence[Head], like: VectorInput | None = None) -> tuple[bytes, bytes]:
    """`golden.jsonl` and `golden.npz`. Lines are ASCII, so that nothing in a text can end one."""
    classifiers = [head for head in heads if isinstance(head, ClassifyHead)]
    names = [_label_names(head, golden.outputs[head.output]) for head in classifiers]
    keys = [head.name for head in classifiers]
    lines = []
    raw: list[Mapping[str, object]] = [{"text": text} for text in golden.texts]
    if like is not None:
        raw = [{"vectors": as_json(row_TF, like)} for row_TF in golden.vectors]
    for row, one in enumerate(raw):
        labels = {key: column[row] for key, column in zip(keys, names, strict=True)}
        lines.append(json.dumps({**one} | ({"labels": labels} if labels else {})))
    archive = io.BytesIO()
    np.savez_compressed(archive, **golden.outputs)  # type: ignore[arg-type]  # names never clash with its options
    return ("\n".join(lines) + "\n").encode("ascii"), archive.getvalue()


def _label_names(head: ClassifyHead, logits_BC: Floats) -> list[str]:
    """The label of the largest value of each row, whatever the problem type: it tells the order of the labels."""
    return [head.labels[index] for index in logits_BC.argmax(axis=1)]
