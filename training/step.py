"""How does one batch move the weights?

Forward, back and one move of the optimiser, the batch whole or in parts; whatever is not finite stops here, before it
reaches a weight.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from training import parallel
from training.checkpoint import Place
from training.faults import not_finite
from training.modeling.model import Model
from training.objectives import Objective
from training.optim import Stepper
from training.recipe import Recipe


def move_once(
    model: Model, objective: Objective, stepper: Stepper, rows: Sequence[int], place: Place, recipe: Recipe
) -> float:
    """Move the weights by the gradients of `rows`, of which each rank takes its share; returns their mean loss before.

    Raises:
        NotFiniteError: the loss or a gradient is NaN or infinite; no weight was moved.
    """
    stepper.zero_grad()
    value = 0.0
    with parallel.sharing(rows) as share:
        for part in cut(share.rows, recipe.budget.accumulate):
            loss = objective.loss(model, part) * (len(part) / len(share.rows) * share.weight)
            value += loss.item()
            if not math.isfinite(value):
                break
            stepper.backward(loss)
    value = parallel.total(value)
    if not math.isfinite(value):
        raise not_finite("loss", value, model, objective, rows, place)
    norm = stepper.step(recipe.optim.clip_norm)
    if not math.isfinite(norm) and not stepper.is_searching:
        raise not_finite("norm of the gradient", norm, model, objective, rows, place)
    return value


def cut(rows: Sequence[int], parts: int) -> Iterator[Sequence[int]]:
    """`rows` in up to `parts` pieces in a row, none of them empty; their lengths differ by one at most."""
    edges = [len(rows) * number // parts for number in range(parts + 1)]
    for start, end in pairwise(edges):
        if start < end:
            yield rows[start:end]
