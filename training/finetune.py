"""How does a recipe with data become a trained model and its figures?

Load → build → baselines → train → calibrate on dev → judge on test. Test rows are read only in the last step.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from app.bundle.manifest import EMBEDDING_OUTPUT
from app.bundle.scoring import unit
from training.baselines import frozen_regression, tfidf_svm, vector_svm
from training.data.collate import Input
from training.data.overview import overview, sentences
from training.data.report import write_report
from training.data.rows import Row, Splits
from training.errors import TrainingError
from training.evaluation.embedder import judge_embedder
from training.evaluation.heads import judge_heads
from training.evaluation.trained import Taught, TrainedHead, metrics_of
from training.hardware import pick_device
from training.modeling import ClassifierHead, LoadedEncoder, Model, load_encoder, logits_name, ruler_of
from training.modeling.adapters import add_adapters, merge_adapters
from training.modeling.depth import freeze
from training.objectives.classification import targets
from training.objectives.regression import scale_of, values
from training.parallel import by_first, first_goes_on
from training.progress import Progress
from training.recipe import Recipe
from training.recipe.encoder import EncoderTable
from training.recipe.heads import ClassifyTask
from training.recipe.more_heads import MoreHead
from training.report import METRICS_FILE, metrics_file
from training.resume import fingerprint
from training.rng import seed_all
from training.stage_report import run_figures, stage_curves
from training.stages import plan, train_stages
from training.teacher import make_teacher
from training.track import Log, no_log

DATA_REPORT = "data"  # in the folder of the run: it shows texts, which no bundle may hold


@dataclass(frozen=True, slots=True)
class Tuned:
    """A trained model in evaluation mode, with the weights of its best epoch, and what is known of its heads, the
    primary one first. `report` holds the bytes of each file by its path.
    """

    model: Model
    loaded: LoadedEncoder
    heads: list[Taught]
    report: dict[str, bytes]

    @property
    def metrics(self) -> dict[str, object]:
        """The figures of all heads, as JSON."""
        return metrics_of(self.heads)


def fine_tune(
    recipe: Recipe,
    splits: Splits,
    *,
    more: Sequence[Splits] = (),
    runs: Path,
    resume: bool,
    progress: Progress,
    probes: Sequence[Row] = (),
    log: Log = no_log,
) -> Tuned:
    """Train what `recipe` says on `splits`.

    Args:
        more: the data of its `more_heads`.
        runs: where checkpoints go.
        log: is told figures while it trains.
        probes: sentences apart from the data, with labels; judged beside the test split.

    Raises:
        TrainingError: the encoder, the data or a checkpoint is not what the recipe says, or training went wrong.
    """
    if recipe.data is None:
        raise TrainingError(f"recipe {recipe.name} has no [data]: it imports its encoder, there is nothing to train")
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    with progress.step("loading the encoder"):
        loaded = load_encoder(recipe.encoder, training_inputs(splits, more), seed=recipe.seed)
    findings = by_first(partial(_check, recipe, splits, loaded, runs, progress))
    more_figures = {
        table.head.name: _data_figures(part, by_first(partial(_check, recipe, part, loaded, runs, progress, table)))
        for table, part in zip(recipe.more_heads, more, strict=True)
    }
    model = build_model(loaded, recipe, splits.labels, more).to(pick_device(recipe.hardware))
    teacher = make_teacher(recipe.teacher, splits, model.device, progress)
    stages = plan(recipe, splits, loaded, teacher, more)
    targets(probes, splits.labels)  # a wrong label in them is found now, not after the training
    baselines = by_first(partial(_baselines, recipe, model, loaded, splits, progress)) if recipe.baselines else {}
    prints = fingerprint(recipe, splits, loaded, more) | ({"teacher": teacher.digest[:16]} if teacher else {})
    trained = train_stages(
        model, stages, recipe, folder=runs, fingerprint=prints, resume=resume, progress=progress, log=log
    )
    first_goes_on()
    merge_adapters(model.encoder)
    for head, part in _with_data(recipe, splits, more):
        _give_values(model, head, part)
    figures = {**run_figures(stages, trained, splits), "findings": findings, "baselines": baselines}
    curves = stage_curves(stages, trained)
    with progress.step("judging on test rows"):
        if recipe.head.task == "embed":
            metrics = judge_embedder(model, loaded, splits, recipe.head.cuts) | figures
            tuned = Tuned(model, loaded, [Taught(recipe.head, splits, metrics=metrics)], {})
        else:
            heads = [TrainedHead(head, model, loaded, part) for head, part in _with_data(recipe, splits, more)]
            judged = judge_heads(heads, probes, figures, more_figures)
            _write(runs, judged.private)
            tuned = Tuned(model, loaded, judged.heads, judged.report)
    model.cpu()  # where the export and its gate run
    return replace(tuned, report={**tuned.report, METRICS_FILE: metrics_file(tuned.metrics), **curves})


def training_inputs(splits: Splits, more: Sequence[Splits] = ()) -> list[Input]:
    """All that is trained on: that of the primary rows, then the texts that other heads have beside them."""
    found: list[Input] = [one for row in splits.train for one in row.inputs]
    known = {text for row in splits.train for text in row.texts}
    for part in more:
        texts = [text for row in part.train for text in row.texts]
        found += [text for text in texts if text not in known]
        known.update(texts)
    return found


def _with_data(recipe: Recipe, splits: Splits, more: Sequence[Splits]) -> Iterator[tuple[ClassifyTask, Splits]]:
    """Every classifier, the primary first, and what it learns from."""
    if isinstance(recipe.head, ClassifyTask):
        yield recipe.head, splits
    yield from zip((table.head for table in recipe.more_heads), more, strict=True)


def _give_values(model: Model, task: ClassifyTask, splits: Splits) -> None:
    """A regression has learned standardised values; from here on it gives those of the data."""
    if task.rows == "regression":
        scale = scale_of(values(splits.train))
        head = model.heads[logits_name(task.name)]
        assert isinstance(head, ClassifierHead)
        head.rescale(scale.mean, scale.deviation)


def _check(
    recipe: Recipe, splits: Splits, loaded: LoadedEncoder, runs: Path, progress: Progress, more: MoreHead | None = None
) -> dict[str, int]:
    """Look at the whole of the data of a head, the primary one or `more`, and say what is odd about them; nothing stops
    here. Returns how many places each check found.
    """
    head = more.head.name if more else ""
    with progress.step(f"checking the data{f' of head {head}' if head else ''}"):
        view = overview(splits, ruler_of(loaded))
        page = write_report(view, recipe.name, runs / DATA_REPORT / head)
    for line in sentences(view) if more is None or more.data else ():  # of shared rows, all is said
        progress.say(f"head {head}: {line}" if head else line)
    progress.say(f"data report: {page}")
    return {check: len(found) for check, found in view.findings.items()}


def build_model(loaded: LoadedEncoder, recipe: Recipe, labels: Sequence[str], more: Sequence[Splits] = ()) -> Model:
    """The encoder, frozen or with adapters as the recipe says, and its heads; fresh weights depend on the seed alone.
    `labels` are those of the primary head, `more` the data of the others.
    """
    seed_all(recipe.seed)
    head = recipe.head
    if isinstance(recipe.encoder, EncoderTable) and recipe.encoder.freeze is not None:
        freeze(loaded.encoder, recipe.encoder.freeze)
    if isinstance(recipe.encoder, EncoderTable) and recipe.encoder.lora is not None:
        add_adapters(loaded.encoder, recipe.encoder.lora)
    if head.task == "embed":
        if head.cuts and max(head.cuts) >= loaded.encoder.width:
            raise TrainingError(f"head.cuts: {max(head.cuts)} is no cut of a vector of {loaded.encoder.width} numbers")
        return Model(loaded.encoder, {})
    heads = [(head, labels), *((table.head, part.labels) for table, part in zip(recipe.more_heads, more, strict=True))]
    width = loaded.encoder.width
    return Model(
        loaded.encoder,
        {each.name: ClassifierHead(width, len(each.outputs(names)), each.dropout) for each, names in heads},
    )


def _baselines(
    recipe: Recipe, model: Model, loaded: LoadedEncoder, splits: Splits, progress: Progress
) -> dict[str, object]:
    """Test figures of what needs no fine-tuning. The model is not trained yet; with fresh weights it is no baseline."""
    is_fresh = recipe.encoder.kind != "pretrained"
    if recipe.head.task == "embed" and is_fresh:
        return {}
    if recipe.head.task == "embed":
        with progress.step("baseline: the encoder before training"):
            return {"encoder_before_training": judge_embedder(model, loaded, splits)}
    classifier = TrainedHead(recipe.head, model, loaded, splits)
    train_N, test_N = (np.array(targets(rows, splits.labels)) for rows in (splits.train, splits.test))
    if splits.is_of_vectors:
        with progress.step("baseline: a linear SVM over the numbers"):
            train_vectors, test_vectors = (
                [row.vector for row in rows if row.vector is not None] for rows in (splits.train, splits.test)
            )
            svm = vector_svm(train_vectors, train_N, test_vectors, test_N, recipe.seed)
        return {"linear_svm": {"accuracy": svm}} if svm is not None else {}
    with progress.step("baseline: tf-idf and a linear SVM"):
        texts, test_texts = ([row.text for row in rows] for rows in (splits.train, splits.test))
        svm = tfidf_svm(texts, train_N, test_texts, test_N, recipe.seed)
    if is_fresh:
        return {"tfidf_svm": {"accuracy": svm}}
    with progress.step("baseline: frozen encoder and logistic regression"):
        train_ND, test_ND = (unit(classifier.outputs(rows)[EMBEDDING_OUTPUT]) for rows in (splits.train, splits.test))
        frozen = frozen_regression(train_ND, train_N, test_ND, test_N)
    return {"tfidf_svm": {"accuracy": svm}, "frozen_logistic_regression": {"accuracy": frozen}}


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Beside the run: what holds texts and so is in no bundle."""
    for path, data in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)


def _data_figures(splits: Splits, findings: Mapping[str, int]) -> dict[str, object]:
    rows = {"train": len(splits.train), "dev": len(splits.dev), "test": len(splits.test)}
    return {"rows": rows, "findings": findings}
