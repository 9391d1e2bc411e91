"""A batch that is encoded in parts has the gradient of the whole, dropout included, and keeps one part at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.tiny import MakeRecipe
from training.checkpoint import Place
from training.data.collate import pad
from training.data.rows import Splits
from training.finetune import build_model
from training.modeling import Model, load_encoder
from training.objectives import encoding, make_objective
from training.optim import make_stepper
from training.recipe import Recipe
from training.rng import seed_all
from training.step import move_once

TOLERANCE = 1e-6
ROWS = range(12)


def gradients(recipe: Recipe, splits: Splits) -> dict[str, torch.Tensor]:
    """Of one batch, with the encoder's dropout; in float64, whose sums do not depend on the parts they are made of."""
    assert recipe.loss is not None
    loaded = load_encoder(recipe.encoder)
    model = build_model(loaded, recipe, splits.labels).double().train()
    objective = make_objective(recipe, recipe.loss, splits, loaded)
    seed_all(1)
    torch.autograd.backward(objective.loss(model, ROWS))
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def in_parts_with_a_graph(
    model: Model, rows: Sequence[Sequence[int]], pad_id: int, *, cached_rows: int | None = None
) -> torch.Tensor:
    """What `encode_rows` saves the memory of: the same parts, and all that their way back needs."""
    assert cached_rows is not None
    starts = range(0, len(rows), cached_rows)
    return torch.cat([model.encoder(*pad(rows[at : at + cached_rows], pad_id)) for at in starts])


def largest_difference(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> float:
    assert some.keys() == others.keys()
    assert max(float(tensor.abs().max()) for tensor in some.values()) > 0.01
    return max(float((some[name] - others[name]).abs().max()) for name in some)


@pytest.mark.parametrize("cuts", [[], [8, 16]], ids=["whole", "cuts"])
def test_cached_gradients_are_the_plain_ones_with_dropout_on(
    cuts: list[int], make_recipe: MakeRecipe, pairs: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some rows bring a negative, and the last part is smaller than the others."""
    head, loss = {"task": "embed", "cuts": cuts}, {"name": "in_batch_negatives", "cached_rows": 5}
    recipe = make_recipe(task="embed", head=head, loss=loss, budget={"batch_size": 12})
    cached = gradients(recipe, pairs)
    monkeypatch.setattr("training.objectives.retrieval.encode_rows", in_parts_with_a_graph)

    assert largest_difference(gradients(recipe, pairs), cached) <= TOLERANCE


def test_without_dropout_they_are_those_of_the_whole_batch(
    make_recipe: MakeRecipe, calm_encoder: Path, pairs: Splits
) -> None:
    found = []
    for cached_rows in (None, 5):
        loss = {"name": "in_batch_negatives", "cached_rows": cached_rows}
        encoder = {"source": str(calm_encoder)}
        recipe = make_recipe(task="embed", encoder=encoder, loss=loss, budget={"batch_size": 12})
        found.append(gradients(recipe, pairs))

    assert largest_difference(*found) <= TOLERANCE


def test_what_is_kept_for_the_way_back_does_not_grow_with_the_batch(make_recipe: MakeRecipe, pairs: Splits) -> None:
    """Numbers kept by torch after the way forward, in thousands: with parts, next to none."""
    loaded = load_encoder(make_recipe(task="embed").encoder)
    model = build_model(loaded, make_recipe(task="embed"), pairs.labels).train()
    rows = [[2, 10, 11, 12, 3]] * 12

    kept = {}
    for cached_rows in (None, 4):
        with counted() as numbers:
            encoding.encode_rows(model, rows, loaded.pad_id, cached_rows=cached_rows)
        kept[cached_rows] = sum(numbers)

    assert kept[4] <= kept[None] / 50


@contextmanager
def counted() -> Iterator[list[int]]:
    """Fills the list with the size of each tensor that torch keeps."""
    numbers: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        numbers.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield numbers


def test_a_step_goes_through_the_loss_scaling_as_ever(make_recipe: MakeRecipe, pairs: Splits) -> None:
    """Scaled 1,024 times and back, the gradients move the weights as they do unscaled."""
    loss = {"name": "in_batch_negatives", "cached_rows": 5}
    recipe = make_recipe(task="embed", loss=loss, budget={"batch_size": 12})
    assert recipe.loss is not None
    moved = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=1024.0)):
        loaded = load_encoder(recipe.encoder)
        model = build_model(loaded, recipe, pairs.labels).train()
        objective = make_objective(recipe, recipe.loss, replace(pairs), loaded)
        seed_all(1)
        move_once(model, objective, make_stepper(model, recipe.optim, scaler), ROWS, Place(), recipe)
        moved.append({name: weight.detach() for name, weight in model.named_parameters()})

    assert largest_difference(*moved) <= 1e-5
