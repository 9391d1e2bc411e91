"""What does a torch model answer to texts, or to rows of numbers?

The one place where training runs a model without training it. Sorting by length takes most of the padding away; the
answers come back in the order of the texts. N texts.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from app.bundle.batches import slices
from training.data.collate import Input, Item, Reader, encode, pad
from training.modeling.model import Model
from training.progress import Bar

BATCH_SIZE = 32


def predict(
    model: Model,
    reader: Reader,
    inputs: Sequence[Input],
    *,
    max_tokens: int,
    pad_id: int,
    batch_size: int = BATCH_SIZE,
    bar: Bar | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Every output of the model by name, row i for `inputs[i]`, which are cut at their end to `max_tokens`."""
    return predict_ids(model, encode(reader, inputs, max_tokens), pad_id=pad_id, batch_size=batch_size, bar=bar)


def predict_ids(
    model: Model, rows: Sequence[Item], *, pad_id: int, batch_size: int = BATCH_SIZE, bar: Bar | None = None
) -> dict[str, NDArray[np.float32]]:
    """`predict` for rows as the model reads them. The model's mode (train or eval) is the same afterwards.

    Raises:
        ValueError: no rows, so the shape of the outputs is unknown.
    """
    if not rows:
        raise ValueError("predict needs at least one row")
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    parts: list[dict[str, torch.Tensor]] = []
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        ordered = [rows[index] for index in order]
        for part in slices(ordered, batch_size):
            batch = ordered[part]
            answers = model(*pad(batch, pad_id, device=model.device))
            parts.append({name: answer.cpu() for name, answer in answers.items()})
            if bar is not None:
                bar.advance(len(batch))
    model.train(was_training)
    back = torch.tensor(order).argsort()  # where each text went
    return {name: torch.cat([one[name] for one in parts])[back].numpy() for name in parts[0]}
