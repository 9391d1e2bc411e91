"""How does a recipe with data become a trained model and its figures?

Load → build → baselines → train → calibrate on dev → judge on test. Test rows are read only in the last step.
N rows, C labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead
from app.bundle.scoring import probabilities, unit
from training.baselines import frozen_regression, tfidf_svm
from training.calibrate import fit_temperature
from training.data.rows import Row, Splits
from training.errors import TrainingError
from training.evaluate import predict
from training.loop import Trained, train
from training.metrics import (
    accuracy,
    class_figures,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    reliability,
)
from training.modeling import ClassifierHead, LoadedEncoder, Model, load_encoder, logits_name
from training.objectives import make_objective, make_pairs, retrieval_scores, targets
from training.progress import Progress
from training.recipe import ClassifyTask, Recipe
from training.report import CONFUSION_FILE, METRICS_FILE, RELIABILITY_FILE, confusion_png, metrics_file, reliability_png
from training.resume import fingerprint
from training.rng import seed_all

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tuned:
    """A trained model in evaluation mode, with the weights of its best epoch, and what is known of it.

    `temperature` is 1 for an embedder. `metrics` is JSON; `report` holds the bytes of each file by its path.
    """

    model: Model
    loaded: LoadedEncoder
    temperature: float
    metrics: dict[str, object]
    report: dict[str, bytes]


def fine_tune(
    recipe: Recipe, splits: Splits, *, runs: Path, resume: bool, progress: Progress, probes: Sequence[Row] = ()
) -> Tuned:
    """Train what `recipe` says on `splits`.

    Args:
        runs: where checkpoints go.
        probes: sentences apart from the data, with labels; judged beside the test split.

    Raises:
        TrainingError: the encoder, the data or a checkpoint is not what the recipe says, or training went wrong.
    """
    if recipe.loss is None:
        raise TrainingError(f"recipe {recipe.name} has no [loss]: it imports its encoder, there is nothing to train")
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    with progress.step("loading the encoder"):
        loaded = load_encoder(recipe.encoder, _all_texts(splits.train), seed=recipe.seed)
    model = build_model(loaded, recipe, splits.labels)
    objective = make_objective(recipe, recipe.loss, splits, loaded)
    targets(probes, splits.labels)  # a wrong label in them is found now, not after the training
    baselines = _baselines(recipe, model, loaded, splits, progress) if recipe.baselines else {}
    prints = fingerprint(recipe, splits, loaded)
    trained = train(model, objective, recipe, folder=runs, fingerprint=prints, resume=resume, progress=progress)
    figures = {**_run_figures(trained, splits), "baselines": baselines}
    with progress.step("judging on test rows"):
        if isinstance(recipe.head, ClassifyTask):
            return _judge_classifier(recipe.head, model, loaded, splits, probes, figures)
        return _judge_embedder(model, loaded, splits, figures)


def build_model(loaded: LoadedEncoder, recipe: Recipe, labels: Sequence[str]) -> Model:
    """The encoder with the recipe's head, whose fresh weights depend on the recipe's seed alone."""
    seed_all(recipe.seed)
    head = recipe.head
    if head.task == "embed":
        return Model(loaded.encoder, {})
    return Model(loaded.encoder, {head.name: ClassifierHead(loaded.encoder.hidden, len(labels), head.dropout)})


def _baselines(
    recipe: Recipe, model: Model, loaded: LoadedEncoder, splits: Splits, progress: Progress
) -> dict[str, object]:
    """Test figures of what needs no fine-tuning. The model is not trained yet; with fresh weights it is no baseline."""
    is_fresh = recipe.encoder.kind != "pretrained"
    if recipe.head.task == "embed" and is_fresh:
        return {}
    if recipe.head.task == "embed":
        with progress.step("baseline: the encoder before training"):
            return {"encoder_before_training": retrieval_scores(model, make_pairs(splits.test, loaded), loaded.pad_id)}
    train_N, test_N = _targets(splits.train, splits), _targets(splits.test, splits)
    with progress.step("baseline: tf-idf and a linear SVM"):
        svm = tfidf_svm(_texts(splits.train), train_N, _texts(splits.test), test_N, recipe.seed)
    if is_fresh:
        return {"tfidf_svm": {"accuracy": svm}}
    with progress.step("baseline: frozen encoder and logistic regression"):
        train_ND = unit(_outputs(model, loaded, splits.train)[EMBEDDING_OUTPUT])
        test_ND = unit(_outputs(model, loaded, splits.test)[EMBEDDING_OUTPUT])
        frozen = frozen_regression(train_ND, train_N, test_ND, test_N)
    return {"tfidf_svm": {"accuracy": svm}, "frozen_logistic_regression": {"accuracy": frozen}}


def _judge_classifier(
    head: ClassifyTask,
    model: Model,
    loaded: LoadedEncoder,
    splits: Splits,
    probes: Sequence[Row],
    figures: dict[str, object],
) -> Tuned:
    """Fit the temperature on dev, judge on test."""
    output, labels = logits_name(head.name), splits.labels
    temperature = fit_temperature(_outputs(model, loaded, splits.dev)[output], _targets(splits.dev, splits))
    plain = ClassifyHead(name=head.name, output=output, problem_type="single_label", labels=labels)
    served = plain.model_copy(update={"temperature": temperature})
    logits_NC, right_N = _outputs(model, loaded, splits.test)[output], _targets(splits.test, splits)
    probs_NC = probabilities(served, logits_NC)
    before, after = reliability(probabilities(plain, logits_NC), right_N), reliability(probs_NC, right_N)
    matrix_CC = confusion_matrix(right_N, probs_NC.argmax(axis=1), len(labels))
    classes = class_figures(matrix_CC)
    metrics: dict[str, object] = {
        "accuracy": accuracy(right_N, probs_NC.argmax(axis=1)),
        "macro_f1": macro_f1(classes),
        "ece_before": expected_calibration_error(before),
        "ece_after": expected_calibration_error(after),
        "temperature": temperature,
        **figures,
        "per_class": {label: asdict(one) for label, one in zip(labels, classes, strict=True)},
    }
    if head.out_of_scope is not None:
        metrics["test_in_scope"] = float(np.mean(probs_NC.max(axis=1) >= head.out_of_scope))
    if probes:
        metrics["probes"] = _probe_figures(
            probes, probabilities(served, _outputs(model, loaded, probes)[output]), labels
        )
    report = {
        METRICS_FILE: metrics_file(metrics),
        CONFUSION_FILE: confusion_png(matrix_CC, labels),
        RELIABILITY_FILE: reliability_png(before, after, temperature),
    }
    return Tuned(model, loaded, temperature, metrics, report)


def _judge_embedder(model: Model, loaded: LoadedEncoder, splits: Splits, figures: dict[str, object]) -> Tuned:
    scores = retrieval_scores(model, make_pairs(splits.test, loaded), loaded.pad_id)
    metrics: dict[str, object] = {**scores, **figures}
    return Tuned(model, loaded, 1.0, metrics, {METRICS_FILE: metrics_file(metrics)})


def _run_figures(trained: Trained, splits: Splits) -> dict[str, object]:
    return {
        "best_epoch": trained.best_epoch,
        "chosen_by": f"dev {trained.metric}",
        "dev": {trained.metric: trained.best_metric},
        "epochs": trained.history,
        "steps": trained.steps,
        "rows": {"train": len(splits.train), "dev": len(splits.dev), "test": len(splits.test)},
    }


def _probe_figures(probes: Sequence[Row], probs_NC: Floats, labels: Sequence[str]) -> dict[str, object]:
    """How many probes come out right, and each that does not."""
    best_N = probs_NC.argmax(axis=1)
    wrong = [
        {"text": row.text, "label": row.label, "predicted": labels[best], "score": round(float(probs_C[best]), 4)}
        for row, best, probs_C in zip(probes, best_N, probs_NC, strict=True)
        if labels[best] != row.label
    ]
    return {"rows": len(probes), "accuracy": 1 - len(wrong) / len(probes), "wrong": wrong}


def _outputs(model: Model, loaded: LoadedEncoder, rows: Sequence[Row]) -> Mapping[str, Floats]:
    return predict(model, loaded.tokenizer, _texts(rows), max_tokens=loaded.max_tokens, pad_id=loaded.pad_id)


def _texts(rows: Sequence[Row]) -> list[str]:
    return [row.text for row in rows]


def _all_texts(rows: Sequence[Row]) -> list[str]:
    """Of pairs and triplets all parts."""
    return [text for row in rows for text in (row.text, row.positive, row.negative) if text is not None]


def _targets(rows: Sequence[Row], splits: Splits) -> NDArray[np.int64]:
    return np.array(targets(rows, splits.labels), np.int64)
