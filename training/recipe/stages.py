"""Which stages does a run go through, one after the other on one model?

Each stage is a run of its own in all but its weights, which it takes from the stage before: `stage_recipe` says which.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from training.recipe.conflicts import conflicts
from training.recipe.encoder import EncoderTable
from training.recipe.losses import LOSSES, PAIR_LOSSES, LossTable
from training.recipe.table import Table

if TYPE_CHECKING:
    from training.recipe.run import Recipe

Trains = Literal["all", "encoder", "heads"]


class StageTable(Table):
    """One stage. A loss over pairs takes labelled rows, too: two rows of one label are a pair."""

    loss: LossTable
    epochs: int = Field(ge=1)
    lr: float | None = Field(default=None, gt=0)  # None: optim.lr. Where heads alone train, it is theirs as it stands
    batch_size: int | None = Field(default=None, ge=1)  # None: budget.batch_size
    trains: Trains = "all"  # heads: over vectors that are computed once


def stage_recipe(recipe: "Recipe", stage: StageTable) -> "Recipe":
    """The recipe of a run that does what `stage` of `recipe` does."""
    lr, batch_size = stage.lr or recipe.optim.lr, stage.batch_size or recipe.budget.batch_size
    optim, encoder, hardware = recipe.optim.model_copy(update={"lr": lr}), recipe.encoder, recipe.hardware
    if stage.trains == "heads":  # what concerns the encoder does nothing over vectors
        optim = optim.model_copy(update={"head_lr_scale": 1.0, "layer_decay": 1.0})
        hardware = hardware.model_copy(update={"precision": "fp32", "compile": False})
        if isinstance(encoder, EncoderTable):
            encoder = encoder.model_copy(update={"checkpointing": False})
    budget = recipe.budget.model_copy(update={"epochs": stage.epochs, "batch_size": batch_size})
    tables = {"loss": stage.loss, "optim": optim, "budget": budget, "encoder": encoder, "hardware": hardware}
    return recipe.model_copy(update={**tables, "stages": []})


def stage_conflicts(recipe: "Recipe") -> Iterator[str]:
    """One line for each pair of settings of a recipe with stages that disagree: of the recipe, and of each stage."""
    if recipe.loss is not None:
        yield "loss and stages disagree: each stage has a loss of its own"
    if "epochs" in recipe.budget.changed():
        yield f"budget.epochs = {recipe.budget.epochs} and stages disagree: each stage has epochs of its own"
    if "lr" in recipe.optim.changed() and all(stage.lr is not None for stage in recipe.stages):
        yield f"optim.lr = {recipe.optim.lr} and stages disagree: each stage has an lr of its own"
    if recipe.more_heads:
        yield "stages and more_heads disagree: stages train one head"
        return
    if recipe.teacher is not None:
        yield "teacher and stages disagree: a teacher is beside one [loss]"
    said: set[str] = set()
    for number, stage in enumerate(recipe.stages):
        found = [*_of_one(recipe, stage), *conflicts(stage_recipe(recipe, stage))]
        yield from (f"stages[{number}]: {line}" for line in found if line not in said)
        said |= set(found)
    wanted = LOSSES[recipe.head.rows]
    if recipe.stages[-1].loss.name not in wanted:
        names = " or ".join(map(repr, wanted))
        yield f"the last of stages trains no head for {recipe.head.rows}: its loss should be {names}"


def _of_one(recipe: "Recipe", stage: StageTable) -> Iterator[str]:
    loss, task = stage.loss.name, recipe.head.rows
    wanted = (*LOSSES[task], *(PAIR_LOSSES if task == "classify" else ()))
    is_frozen = getattr(recipe.encoder, "freeze", None) == "all"
    if loss not in wanted:
        yield f"a head for {task} trains with loss {' or '.join(map(repr, wanted))}, not {loss!r}"
    if stage.trains == "heads" and (loss in PAIR_LOSSES or task == "embed"):
        yield f'trains = "heads" and loss.name = "{loss}" disagree: it learns vectors, which a head does not change'
    if is_frozen and (stage.trains == "encoder" or loss in PAIR_LOSSES):
        yield 'encoder.freeze = "all" and what this stage trains disagree: nothing would be left to train'
    if stage.trains == "heads" and recipe.optim.name == "muon":
        yield 'trains = "heads" and optim.name = "muon" disagree: muon moves the matrices of the encoder'
