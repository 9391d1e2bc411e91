import json

import numpy as np

from app.bundle.manifest import ClassifyHead, EmbedHead
from training.evaluate import predict
from training.export.golden import as_files, hard_texts, record
from training.export.parity import Reference


def test_hard_texts_hold_what_breaks_tokenizers(reference: Reference) -> None:
    texts = hard_texts(reference.max_tokens)

    assert len(texts) == len(set(texts))
    assert len(texts) >= 32
    assert "" in texts
    assert any(len(text) == 300 and " " not in text for text in texts)
    assert any("👩‍👩‍👧‍👦" in text for text in texts)
    longest = max(len(reference.tokenizer.encode(text).ids) for text in texts)
    assert longest > reference.max_tokens


def test_outputs_are_the_models_own_for_hard_and_training_texts(reference: Reference) -> None:
    training = [f"play song number {number}" for number in range(1000)]

    golden = record(reference.model, reference.tokenizer, training=training, max_tokens=64, pad_id=0)

    again = predict(reference.model, reference.tokenizer, golden.texts, max_tokens=64, pad_id=0)
    assert golden.texts == [*hard_texts(64), *training[::31][:32]]
    assert all(np.array_equal(golden.outputs[name], again[name]) for name in again)


def test_a_line_is_a_text_whatever_the_text_holds(reference: Reference, heads: list[ClassifyHead | EmbedHead]) -> None:
    golden = record(reference.model, reference.tokenizer, max_tokens=64, pad_id=0)

    lines, _arrays = as_files(golden, heads)

    rows = [json.loads(line) for line in lines.decode("ascii").splitlines()]
    assert [row["text"] for row in rows] == golden.texts
    best = golden.outputs["logits_intent"].argmax(axis=1)
    assert isinstance(heads[0], ClassifyHead)
    assert [row["labels"] for row in rows] == [{"intent": heads[0].labels[index]} for index in best]


def test_the_same_model_gives_the_same_bytes(reference: Reference, heads: list[ClassifyHead | EmbedHead]) -> None:
    first, second = (
        as_files(record(reference.model, reference.tokenizer, max_tokens=64, pad_id=0), heads) for _ in range(2)
    )

    assert first == second
