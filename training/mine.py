"""Which hard negatives does a recipe's encoder find in its own training pairs?

The pairs of train come out with them as JSON lines, dev and test as they are: data that the recipe can be trained on
next. N pairs, M candidates, D dimensions.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from app.bundle.manifest import EMBEDDING_OUTPUT
from app.bundle.scoring import unit
from training.data.checks import BadValue, to_row
from training.data.files import read
from training.data.hard_negatives import Mined, Search, candidates_of, mine, own_candidates
from training.data.lines import FileFault
from training.data.rows import Row
from training.errors import DataError, RecipeError
from training.evaluate import predict
from training.hardware import pick_device
from training.modeling import LoadedEncoder, Model, load_encoder
from training.objectives.retrieval import make_pairs
from training.progress import Progress
from training.recipe import load_recipe
from training.recipe.data import Columns
from training.run import load_data


@dataclass(frozen=True, slots=True)
class Written:
    """What was found and where it lies. `without`: pairs that no candidate is a hard negative of."""

    folder: Path
    pairs: int
    candidates: int
    mined: Mined

    @property
    def without(self) -> int:
        """Pairs for which nothing was found; they stand in the file without a negative."""
        return sum(not found for found in self.mined.negatives)

    def __str__(self) -> str:
        negatives = sum(map(len, self.mined.negatives))
        return "\n".join(
            [
                f"{negatives:,} hard negatives for {self.pairs - self.without:,} of {self.pairs:,} pairs of train, "
                f"from {self.candidates:,} candidates; {self.without:,} pairs have none",
                f"passed over: {self.mined.too_near:,} times a candidate was nearer than the margin allows, "
                f"{self.mined.own:,} times it was the text itself or one of its positives",
                "to train on them, write in the recipe: data = "
                + '{ source = "files", '
                + "".join(f'{name} = "{self.folder.resolve() / name}.jsonl", ' for name in ("train", "dev", "test"))
                + 'columns = { negative = "negative" } }',
            ]
        )


def mine_recipe(
    path: Path,
    out: Path,
    *,
    progress: Progress,
    overrides: Sequence[str] = (),
    corpus: Path | None = None,
    search: Search = Search(),  # noqa: B008 - a frozen value
) -> Written:
    """Write `train.jsonl`, `dev.jsonl` and `test.jsonl` into `out`; train has a row for each negative of a pair.

    Args:
        path: a recipe with pairs; its encoder, as it is before training, finds the negatives.
        out: a folder, made if it is not there.
        progress: says what goes on.
        overrides: `table.key=value` in place of the recipe's.
        corpus: a data file of more candidates, in a column `text`.
        search: what counts as a hard negative.

    Raises:
        RecipeError: the recipe has no pairs. DataError: its data, or the corpus, have faults.
    """
    recipe = load_recipe(path, overrides)
    if recipe.data is None or recipe.head.task != "embed":
        raise RecipeError(f'{recipe.name}: hard negatives are of pairs; give it [data] and head.task = "embed"')
    if recipe.data.source != "home-assistant-intents" and recipe.data.columns.score is not None:
        raise RecipeError(f"{recipe.name}: data.columns.score: pairs with a score are no matches to find the like of")
    splits = load_data(recipe, path.parent, progress)
    rows = list({(row.text, row.positive): replace(row, negative=None) for row in splits.train}.values())
    more = [*splits.corpus, *(_texts(corpus) if corpus is not None else [])]
    with progress.step("loading the encoder"):
        loaded = load_encoder(recipe.encoder, [text for row in splits.train for text in row.texts], seed=recipe.seed)
    candidates = candidates_of(rows, more)
    mined = _find(
        Model(loaded.encoder, {}).to(pick_device(recipe.hardware)), loaded, rows, candidates, search, progress
    )
    out.mkdir(parents=True, exist_ok=True)
    found = zip(rows, mined.negatives, strict=True)
    named = (replace(row, negative=text) for row, numbers in found for text in _negatives(numbers, candidates))
    for name, part in (("train", named), ("dev", splits.dev), ("test", splits.test)):
        _write(out / f"{name}.jsonl", part)
    return Written(out, len(rows), len(candidates), mined)


def _find(
    model: Model,
    loaded: LoadedEncoder,
    rows: Sequence[Row],
    candidates: list[str],
    search: Search,
    progress: Progress,
) -> Mined:
    model.eval()
    positives = list(make_pairs(rows, loaded).positives)  # a row without one is named
    texts_ND = _vectors(model, loaded, [row.text for row in rows], "vectors of texts", progress)
    positives_ND = _vectors(model, loaded, positives, "vectors of positives", progress)
    candidates_MD = _vectors(model, loaded, candidates, "vectors of candidates", progress)
    with progress.step("looking for hard negatives"):
        own = own_candidates(rows, candidates)
        return mine(texts_ND, positives_ND, candidates_MD, own, search)


def _negatives(numbers: Sequence[int], candidates: Sequence[str]) -> list[str | None]:
    """Their texts; a pair without any stays in the data."""
    return [candidates[number] for number in numbers] or [None]


def _vectors(model: Model, loaded: LoadedEncoder, texts: list[str], title: str, progress: Progress) -> torch.Tensor:
    with progress.bar(title, len(texts)) as bar:
        outputs = predict(model, loaded.tokenizer, texts, max_tokens=loaded.max_tokens, pad_id=loaded.pad_id, bar=bar)
    return torch.from_numpy(unit(outputs[EMBEDDING_OUTPUT])).to(model.device)


def _texts(corpus: Path) -> list[str]:
    """Every text of a data file.

    Raises:
        DataError: with every problem of the file.
    """
    texts: list[str] = []
    problems: list[str] = []
    columns = Columns(positive="text")  # a text is all that is wanted of a line
    try:
        for record in read(corpus, ("text",)):
            try:
                texts.append(to_row(record, columns, "embed").text)
            except BadValue as bad:
                problems.append(f"{record.where}: {bad}")
    except FileFault as fault:
        problems.append(str(fault))
    if problems:
        raise DataError(f"the corpus {corpus} has problems", problems)
    return texts


def _write(path: Path, rows: Iterable[Row]) -> None:
    """JSON lines; a row without a negative has null there."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            values = {"text": row.text, "positive": row.positive, "negative": row.negative}
            file.write(json.dumps(values, ensure_ascii=False) + "\n")
