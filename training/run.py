"""How does a recipe become a bundle?

With data: load → fine-tune → publish. Without: load the encoder → publish. Bundles go to `<models>/store`, checkpoints
to `<models>/runs/<recipe name>`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from app.bundle.manifest import NAME_PATTERN, PoolingMode
from training.build import store_of
from training.checkpoint import DamagedCheckpointError, ForeignCheckpointError, Place, list_checkpoints
from training.checkpoint import load as load_checkpoint
from training.data import Row, Splits, describe, load, load_more
from training.data.checks import BadValue, to_row
from training.data.files import read
from training.data.lines import FileFault
from training.errors import DataError, RecipeError, TrainingError
from training.evaluation.trained import Taught
from training.export.describe import Finished
from training.export.publish import publish
from training.finetune import Tuned, fine_tune
from training.importing import Imported, read_source
from training.importing.onnx_file import root_of
from training.modeling import Model, load_encoder
from training.progress import Progress
from training.recipe import Recipe, load_recipe
from training.recipe.data import Columns
from training.recipe.encoder import EncoderTable
from training.recipe.heads import EmbedTask
from training.stages import last_run
from training.track import check_installed, tracking


def train(path: Path, *, models: Path, progress: Progress, overrides: Sequence[str] = (), resume: bool = False) -> Path:
    """The bundle of the recipe in `path`, made from its data, or from its encoder alone.

    Raises:
        TrainingError: recipe, data, training or gate; nothing was published. BundleError: the bundle's own rules.
    """
    recipe = load_recipe(path, overrides)
    if recipe.data is None:
        with progress.step("loading the encoder"):
            loaded = load_encoder(recipe.encoder)
        return _publish_imported(recipe, Imported(Model(loaded.encoder, {}), loaded), models, progress)
    check_installed(recipe)
    splits, *more = load_heads(recipe, path.parent, progress)
    runs = models / "runs" / recipe.name
    probes = read_probes(recipe, path.parent)
    with tracking(recipe, runs, progress.say) as told:
        tuned = fine_tune(
            recipe, splits, more=more, runs=runs, resume=resume, progress=progress, probes=probes, log=told.log
        )
        told.judged(tuned.metrics, tuned.report)
        return publish(finished(recipe, tuned), store_of(models), progress=progress)


def finished(recipe: Recipe, tuned: Tuned) -> Finished:
    """What fine-tuning made, ready to be published."""
    return Finished(recipe, tuned.model, tuned.loaded, tuned.heads, tuned.report)


def export(path: Path, *, models: Path, progress: Progress, overrides: Sequence[str] = ()) -> Path:
    """The bundle of a run that is finished: its best weights are judged and exported, nothing is trained.

    Raises:
        TrainingError: there is no finished run of this recipe.
    """
    recipe = load_recipe(path, overrides)
    if recipe.data is not None:
        _check_finished(*last_run(recipe, models / "runs" / recipe.name))
    return train(path, models=models, progress=progress, overrides=overrides, resume=True)


def import_encoder(
    source: str,
    *,
    models: Path,
    progress: Progress,
    name: str | None = None,
    pooling: PoolingMode | None = None,
    vector: str | None = None,
) -> Path:
    """The bundle of a model as it is, with its classifier if it has one.

    Args:
        source: a folder, a hub id, `package:NAME` or an ONNX file.
        models: where the store is.
        progress: hears what is done.
        name: of the bundle; None: the source's last part.
        pooling: None: what the source says.
        vector: the output of an ONNX file to take for the vector; None: by its name.
    """
    table = EncoderTable(source=source, pooling=pooling)
    name = name or default_name(source)
    if not NAME_PATTERN.fullmatch(name):
        raise RecipeError(f"{name!r} cannot name a bundle; use up to 64 of a-z, 0-9, . _ - and begin with a-z or 0-9")
    with progress.step("loading the model"):
        found = read_source(table, vector)
    for line in found.notes:
        progress.say(line)
    head = EmbedTask(task="embed", normalize=found.loaded.normalize)
    recipe = Recipe(name=name, description=f"{source}, unchanged.", encoder=table, head=head)
    return _publish_imported(recipe, found, models, progress)


def load_data(recipe: Recipe, folder: Path, progress: Progress) -> Splits:
    """The rows of a recipe, and a line on what became of them."""
    with progress.step("reading the data"):
        splits = load(recipe, folder)
    for line in describe(splits):
        progress.say(line)
    return splits


def load_heads(recipe: Recipe, folder: Path, progress: Progress) -> list[Splits]:
    """`load_data` for every head, the primary first."""
    splits = load_data(recipe, folder, progress)
    if not recipe.more_heads:
        return [splits]
    with progress.step("reading the data of the other heads"):
        more = load_more(recipe, folder)
    for table, part in zip(recipe.more_heads, more, strict=True):
        for line in describe(part):
            progress.say(f"head {table.head.name}: {line}")
    return [splits, *more]


def read_probes(recipe: Recipe, folder: Path) -> list[Row]:
    """The recipe's own sentences with labels, if it has any.

    Raises:
        DataError: with every problem of the file.
    """
    if recipe.probes is None:
        return []
    rows: list[Row] = []
    problems: list[str] = []
    try:
        for record in read(folder / recipe.probes, ("text", "label")):
            try:
                rows.append(to_row(record, Columns(), "classify"))
            except BadValue as bad:
                problems.append(f"{record.where}: {bad}")
    except FileFault as fault:
        problems.append(str(fault))
    if problems:
        raise DataError(f"probes: {recipe.probes} has problems", problems)
    return rows


def default_name(source: str) -> str:
    """A bundle's name from where its encoder comes from: the last part, in lower case.

    Raises:
        RecipeError: nothing of it can stand in a name.
    """
    last = source.removeprefix("package:").rstrip("/").rsplit("/", 1)[-1]
    path = Path(source).expanduser()
    if path.suffix == ".onnx" and path.is_file():  # named by its folder: most are called model.onnx
        path = root_of(path)
    if path.is_dir():
        last = path.resolve().name
    name = re.sub(r"[^a-z0-9._-]+", "-", last.lower()).strip("-._")[:64]
    if not name:
        raise RecipeError(f"no name can be made of {source!r}; give one with --name")
    return name


def _publish_imported(recipe: Recipe, found: Imported, models: Path, progress: Progress) -> Path:
    heads = [Taught(recipe.head)]
    finished = Finished(recipe, found.model.eval(), found.loaded, heads, {}, found.heads, found.graphs)
    return publish(finished, store_of(models), progress=progress)


def _check_finished(recipe: Recipe, runs: Path) -> None:
    """The newest checkpoint stands at the end of the run (else the loop would go on training)."""
    paths = list_checkpoints(runs)
    if not paths:
        raise TrainingError(f"{runs} has no checkpoints; run `python -m training train` first")
    place = _newest_place(paths)
    if place is None:
        return  # the loop says what is wrong with each of them
    patience = recipe.budget.patience
    is_tired = patience is not None and place.best_epoch is not None and place.epoch - place.best_epoch >= patience
    if place.epoch < recipe.budget.epochs and not is_tired:
        raise TrainingError(
            f"the run in {runs} stopped in epoch {place.epoch + 1} of {recipe.budget.epochs}; "
            "`python -m training train --resume` finishes and exports it"
        )


def _newest_place(paths: Sequence[Path]) -> Place | None:
    """Of the newest checkpoint that can be read."""
    for path in paths:
        try:
            return load_checkpoint(path).place
        except (DamagedCheckpointError, ForeignCheckpointError):
            continue
    return None
