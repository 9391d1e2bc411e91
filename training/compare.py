"""Is one bundle better than another? Both are judged on the same test rows, as callers get their answers."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead
from app.bundle.open import Bundle
from app.bundle.scoring import unit
from app.bundle.store import bundle_dir, current, versions
from app.bundle.verify import verify
from training.build import store_of
from training.data.collate import Input
from training.data.rows import Row
from training.errors import TrainingError
from training.evaluation.paired import LEVEL, Difference, difference, difference_of_means, mcnemar, sign_flip, swap
from training.export.decisions import decisions
from training.export.served import graph_outputs
from training.metrics import (
    class_figures,
    confusion_matrix,
    cosines,
    label_figures,
    macro_f1,
    micro_f1,
    retrieval_ranks,
    spearman,
)
from training.objectives.regression import values
from training.objectives.similarity import scores_of
from training.progress import Progress
from training.recipe import load_recipe
from training.recipe.heads import ProblemType
from training.run import load_data

Ints = NDArray[np.int64]
ERRORS = ("mae",)  # figures of which less is better


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two bundles on the same rows; the first difference is of the figure that decides."""

    a: str
    b: str
    rows: int
    differences: Sequence[Difference]
    only_a: int
    only_b: int
    alone: str  # what counts for `only_a` and `only_b`

    def __str__(self) -> str:
        return "\n".join([self.verdict, *(self._line(each) for each in self.differences)])

    @property
    def verdict(self) -> str:
        """One sentence."""
        first = self.differences[0]
        assert first.p is not None
        how = f"{first.metric} {first.a:.4f} → {first.b:.4f}, p = {first.p:.2g} on {self.rows:,} test rows"
        if first.p >= LEVEL:
            return f"{self.a} and {self.b} cannot be told apart: {how}"
        is_better = first.by < 0 if first.metric in ERRORS else first.by > 0
        return f"{self.b} is {'better' if is_better else 'worse'} than {self.a}: {how}"

    def _line(self, each: Difference) -> str:
        low, high = each.interval
        alone = f"; {self.alone}: A {self.only_a}, B {self.only_b}" if each is self.differences[0] else ""
        return f"  {each.metric}: {each.by:+.4f} (95 %: {low:+.4f} to {high:+.4f}){alone}"


def compare(path: Path, first: str, second: str, *, models: Path, progress: Progress) -> Comparison:
    """The bundles `first` and `second`, each `NAME` or `NAME@VERSION`, on the test split of the recipe in `path`.

    Raises:
        TrainingError: there is no such bundle, they do other tasks, or the recipe has no test rows. BundleError.
    """
    recipe = load_recipe(path)
    if recipe.data is None:
        raise TrainingError(f"{recipe.name} has no [data], so there is nothing to compare bundles on")
    a, b = (_open(models, name) for name in (first, second))
    heads = [bundle.manifest.heads[0] for bundle in (a, b)]
    test = load_data(recipe, path.parent, progress).test
    if not test:
        raise TrainingError(f"{recipe.name} has no test rows")
    if len({head.task for head in heads}) > 1:
        raise TrainingError(f"{first} and {second} cannot be compared: one classifies, the other embeds")
    types = {head.problem_type for head in heads if isinstance(head, ClassifyHead)}
    if len(types) > 1:
        raise TrainingError(f"{first} and {second} cannot be compared: {' and '.join(sorted(types))} differ")
    if types:
        return BY_TYPE[types.pop()](a, b, test, progress)
    judge = _by_retrieval if test[0].score is None else _by_similarity
    return judge(a, b, test, progress)


def _open(models: Path, name: str) -> Bundle:
    store = store_of(models)
    found = re.fullmatch(r"([a-z0-9][a-z0-9._-]*)(?:@([1-9][0-9]*))?", name)
    if not found or not versions(store, found[1]):
        raise TrainingError(f"{store} has no bundle {name!r}; name it as NAME or NAME@VERSION")
    version = int(found[2]) if found[2] else current(store, found[1])
    if version not in versions(store, found[1]):
        there = ", ".join(map(str, versions(store, found[1])))
        raise TrainingError(f"{found[1]} has no version {version} in {store}; it has: {there}")
    return verify(bundle_dir(store, found[1], version))


def _by_labels(a: Bundle, b: Bundle, test: Sequence[Row], progress: Progress) -> Comparison:
    texts = [row.input for row in test]
    answers = [_answers(bundle, texts, progress) for bundle in (a, b)]
    labels = sorted({str(row.label) for row in test}.union(*answers))
    numbers = {label: number for number, label in enumerate(labels)}
    right_N = np.array([numbers[str(row.label)] for row in test])
    a_N, b_N = (np.array([numbers[label] for label in found]) for found in answers)
    hits_a_N, hits_b_N = a_N == right_N, b_N == right_N

    def f1(found_N: Ints, rows: Ints) -> float:
        return macro_f1(class_figures(confusion_matrix(right_N[rows], found_N[rows], len(labels))))

    differences = [
        difference_of_means("accuracy", hits_a_N, hits_b_N, mcnemar(hits_a_N, hits_b_N)),
        difference("macro_f1", lambda rows: f1(a_N, rows), lambda rows: f1(b_N, rows), len(test), None),
    ]
    return _comparison(a, b, differences, hits_a_N, hits_b_N)


def _by_label_sets(a: Bundle, b: Bundle, test: Sequence[Row], progress: Progress) -> Comparison:
    """What decides is the F1 of each row, its mean and a test of it: macro-F1 is a figure of all rows together."""
    texts = [row.input for row in test]
    answers = [_answer_sets(bundle, texts, progress) for bundle in (a, b)]
    labels = sorted(
        {label for row in test for label in row.all_labels}.union(*(each for sets in answers for each in sets))
    )
    right_NC, a_NC, b_NC = (
        np.array([[label in each for label in labels] for each in sets])
        for sets in ([set(row.all_labels) for row in test], *answers)
    )
    a_N, b_N = (
        np.array([micro_f1(*pair) for pair in zip(found_NC, right_NC, strict=True)]) for found_NC in (a_NC, b_NC)
    )

    def f1(found_NC: NDArray[np.bool_], rows: Ints) -> float:
        return macro_f1(label_figures(found_NC[rows], right_NC[rows]))

    differences = [
        difference_of_means("f1_of_a_row", a_N, b_N, sign_flip(a_N, b_N)),
        difference("macro_f1", lambda rows: f1(a_NC, rows), lambda rows: f1(b_NC, rows), len(test), None),
    ]
    return _comparison(a, b, differences, (a_NC == right_NC).all(axis=1), (b_NC == right_NC).all(axis=1))


def _by_values(a: Bundle, b: Bundle, test: Sequence[Row], progress: Progress) -> Comparison:
    right_N, texts = values(test), [row.input for row in test]
    found = [graph_outputs(bundle, texts, progress)[bundle.manifest.heads[0].output][:, 0] for bundle in (a, b)]
    a_N, b_N = (np.abs(each - right_N) for each in found)
    differences = [difference_of_means("mae", a_N, b_N, sign_flip(a_N, b_N))]
    return _comparison(a, b, differences, a_N < b_N, b_N < a_N, alone="nearer to the value")


BY_TYPE: Mapping[ProblemType, Callable[[Bundle, Bundle, Sequence[Row], Progress], Comparison]] = {
    "single_label": _by_labels,
    "multi_label": _by_label_sets,
    "regression": _by_values,
}


def _by_retrieval(a: Bundle, b: Bundle, test: Sequence[Row], progress: Progress) -> Comparison:
    texts, positives = [row.text for row in test], [row.positive or "" for row in test]
    ranks = []
    for bundle in (a, b):
        vectors = unit(graph_outputs(bundle, texts + positives, progress)[EMBEDDING_OUTPUT])
        ranks.append(retrieval_ranks(vectors[: len(test)], vectors[len(test) :], positives))
    a_N, b_N = (1 / rank_N for rank_N in ranks)
    differences = [difference_of_means("mrr", a_N, b_N, sign_flip(a_N, b_N))]
    return _comparison(a, b, differences, ranks[0] == 1, ranks[1] == 1)


def _by_similarity(a: Bundle, b: Bundle, test: Sequence[Row], progress: Progress) -> Comparison:
    """The correlation decides; alone are the rows whose place in the order is nearer to that of their score."""
    texts = [row.text for row in test] + [row.positive or "" for row in test]
    right_N = rankdata(scores_of(test))
    vectors = [graph_outputs(bundle, texts, progress)[EMBEDDING_OUTPUT] for bundle in (a, b)]
    a_N, b_N = (rankdata(cosines(one[: len(test)], one[len(test) :])) for one in vectors)
    p = swap(a_N, b_N, right_N)
    off_a_N, off_b_N = np.abs(a_N - right_N), np.abs(b_N - right_N)
    differences = [
        difference(
            "spearman",
            lambda rows: spearman(a_N[rows], right_N[rows]),
            lambda rows: spearman(b_N[rows], right_N[rows]),
            len(test),
            p,
        )
    ]
    return _comparison(a, b, differences, off_a_N < off_b_N, off_b_N < off_a_N, alone="nearer to the score")


def _comparison(
    a: Bundle,
    b: Bundle,
    differences: Sequence[Difference],
    hits_a_N: NDArray[np.bool_],
    hits_b_N: NDArray[np.bool_],
    alone: str = "right alone",
) -> Comparison:
    names = [f"{bundle.manifest.name}@{bundle.manifest.version}" for bundle in (a, b)]
    only_a, only_b = int((hits_a_N & ~hits_b_N).sum()), int((hits_b_N & ~hits_a_N).sum())
    return Comparison(names[0], names[1], len(hits_a_N), differences, only_a, only_b, alone)


def _answers(bundle: Bundle, texts: Sequence[Input], progress: Progress) -> list[str]:
    """The best label of each text."""
    head = bundle.manifest.heads[0]
    assert isinstance(head, ClassifyHead)
    return [head.labels[best] for best in graph_outputs(bundle, texts, progress)[head.output].argmax(axis=1)]


def _answer_sets(bundle: Bundle, texts: Sequence[Input], progress: Progress) -> list[set[str]]:
    """The labels of each text."""
    head = bundle.manifest.heads[0]
    assert isinstance(head, ClassifyHead)
    given_NC = decisions(head, graph_outputs(bundle, texts, progress)[head.output])
    return [{head.labels[place] for place in np.flatnonzero(given_C)} for given_C in given_NC]
