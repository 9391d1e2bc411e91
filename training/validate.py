"""Are these data sound? Nothing is trained here."""

from collections.abc import Mapping
from pathlib import Path

from training.data import describe
from training.data.lengths import CHARACTERS, Ruler, vector_ruler
from training.data.overview import overview, sentences
from training.data.report import write_report
from training.data.rows import Splits
from training.data.sources import load_files
from training.errors import DataError, TrainingError
from training.modeling import load_encoder, ruler_of
from training.progress import Progress
from training.recipe import Recipe, load_recipe
from training.recipe.data import Columns, FileData
from training.recipe.encoder import AnyEncoder
from training.recipe.heads import RowKind
from training.run import load_heads, read_probes

FAULTS_FILE = "faults.txt"


def validate_recipe(path: Path, *, progress: Progress, report: Path | None = None) -> str:
    """Check the data and the probes of a recipe, and say what they are like; returns a line, if all are sound.

    Args:
        report: the folder that a report goes to; None: there is none.

    Raises:
        TrainingError: the recipe or its data are not sound.
    """
    recipe = load_recipe(path)
    if recipe.data is None:
        return f"{recipe.name}: the recipe is sound; it has no data to read"
    read_probes(recipe, path.parent)
    splits, *more = load_heads(recipe, path.parent, progress)
    ruler = _vector_ruler(recipe.encoder) if splits.is_of_vectors else _ruler(recipe, progress)
    with progress.step("checking the data"):
        lines = _look(splits, recipe.name, ruler, report)
        for table, part in zip(recipe.more_heads, more, strict=True):
            name = table.head.name
            lines += [f"head {name}: {line}" for line in _look(part, recipe.name, ruler, report and report / name)]
    for line in lines:
        progress.say(line)
    return f"{recipe.name}: the recipe and its data are sound"


def validate_file(
    path: Path,
    *,
    task: RowKind,
    columns: Mapping[str, str],
    label_separator: str | None = None,
    report: Path | None = None,
) -> list[str]:
    """Check every row of one data file; returns lines on what they are like.

    Raises:
        DataError: with every problem of the file.
    """
    read_as = Columns.model_validate(dict(columns))
    data = FileData(source="files", train=path.name, columns=read_as, label_separator=label_separator)
    splits = load_files(data, path.parent, task)
    ruler = vector_ruler() if splits.is_of_vectors else CHARACTERS
    return [*describe(splits), *_look(splits, path.name, ruler, report)]


def write_faults(error: DataError, folder: Path) -> Path:
    """Write every fault of the data, of which the message shows a hundred, into `folder`; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FAULTS_FILE
    path.write_text("".join(f"{problem}\n" for problem in error.problems), encoding="utf-8")
    return path


def _ruler(recipe: Recipe, progress: Progress) -> Ruler:
    """Tokens of the recipe's encoder; characters where it is not here, for the data can be checked without it."""
    try:
        with progress.step("loading the encoder"):
            loaded = load_encoder(recipe.encoder)
    except TrainingError as error:
        progress.say(f"lengths are in characters, for {error}")
        return CHARACTERS
    return ruler_of(loaded)


def _vector_ruler(table: AnyEncoder) -> Ruler:
    return vector_ruler(getattr(table, "max_tokens", None))


def _look(splits: Splits, name: str, ruler: Ruler, report: Path | None) -> list[str]:
    """Lines on the whole of the data; the report is written where one is wanted."""
    view = overview(splits, ruler)
    lines = list(sentences(view))
    if report is not None:
        lines.append(f"data report: {write_report(view, name, report)}")
        (report / FAULTS_FILE).unlink(missing_ok=True)  # of earlier data
    return lines
