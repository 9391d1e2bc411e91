"""Which rows made a step go wrong?

Looked for only after it did: each row of the batch goes forward and back alone, so that one bad line among 32 is named
by file and line.
"""

from collections.abc import Sequence

import torch

from training.checkpoint import Place
from training.errors import DivergedError, NotFiniteError
from training.modeling.model import Model
from training.objectives import Objective
from training.trend import ON_END, TIMES

NAMED_ROWS = 40  # of a batch that went wrong: more than the usual batch


def not_finite(
    what: str, value: float, model: Model, objective: Objective, indices: Sequence[int], place: Place
) -> NotFiniteError:
    """The error for a step whose loss or gradient is not finite. The weights are still those before the step."""
    guilty = [index for index in indices if not _is_finite_alone(model, objective, index)]
    if 0 < len(guilty) < len(indices):
        who = f"{len(guilty)} of its {len(indices)} rows give that alone, too: {_names(objective, guilty)}"
    else:
        who = f"{'Each' if guilty else 'None'} of its rows gives that alone: {_names(objective, indices)}"
    return NotFiniteError(
        f"epoch {place.epoch + 1}, step {place.step + 1}: the {what} is {value}; nothing of this step is kept. "
        f"{who}. Look at these rows, or lower optim.lr"
    )


def diverged(place: Place, objective: Objective, indices: Sequence[int]) -> DivergedError:
    """The error for a run whose loss went up and stays there."""
    limit = place.trend.limit()
    assert limit is not None  # without one, no step is high
    return DivergedError(
        f"epoch {place.epoch + 1}, step {place.step}: the loss has been over {limit:.4g} for {ON_END} steps on end, "
        f"which is {TIMES:.0f} times its best or half of its first: the run has diverged, and no bundle is made. Lower "
        f"optim.lr or optim.clip_norm, or raise optim.warmup_share. The last rows: {_names(objective, indices)}"
    )


def _is_finite_alone(model: Model, objective: Objective, index: int) -> bool:
    model.zero_grad(set_to_none=True)
    loss = objective.loss(model, [index])
    torch.autograd.backward(loss)
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return all(bool(torch.isfinite(tensor).all()) for tensor in (loss, *gradients))


def _names(objective: Objective, indices: Sequence[int]) -> str:
    wheres = [objective.rows[index].where for index in indices]
    hidden = f", and {len(wheres) - NAMED_ROWS} more" if len(wheres) > NAMED_ROWS else ""
    return f"{', '.join(wheres[:NAMED_ROWS])}{hidden}"
