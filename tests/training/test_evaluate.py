"""Predictions come back in the order of the texts and leave the model as it was."""

from pathlib import Path

import numpy as np
import pytest

from tests.training.tiny import TEXTS
from training.evaluate import predict
from training.modeling import ClassifierHead, LoadedEncoder, Model, load_encoder
from training.recipe.encoder import EncoderTable


@pytest.fixture
def loaded(tiny_encoder: Path) -> LoadedEncoder:
    return load_encoder(EncoderTable(source=str(tiny_encoder)))


def test_batches_of_any_size_give_the_same_rows_in_order(loaded: LoadedEncoder) -> None:
    model = Model(loaded.encoder, {"label": ClassifierHead(32, 2, 0.5)})

    whole = predict(model, loaded.tokenizer, TEXTS, max_tokens=64, pad_id=0)
    alone = [predict(model, loaded.tokenizer, [text], max_tokens=64, pad_id=0, batch_size=1) for text in TEXTS]

    assert set(whole) == {"sentence_embedding", "logits_label"}
    for name, rows in whole.items():
        assert rows.dtype == np.float32
        assert np.allclose(rows, np.concatenate([one[name] for one in alone]), atol=1e-6, rtol=0)


def test_a_model_in_training_predicts_without_dropout_and_trains_on(loaded: LoadedEncoder) -> None:
    model = Model(loaded.encoder, {}).train()

    first = predict(model, loaded.tokenizer, TEXTS[:3], max_tokens=64, pad_id=0)
    second = predict(model, loaded.tokenizer, TEXTS[:3], max_tokens=64, pad_id=0)

    assert np.array_equal(first["sentence_embedding"], second["sentence_embedding"])
    assert model.training


def test_no_texts_are_refused(loaded: LoadedEncoder) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        predict(Model(loaded.encoder, {}), loaded.tokenizer, [], max_tokens=64, pad_id=0)
