"""Figures of retrieval are those of the books, over the positives and over a corpus."""

import math
from pathlib import Path

import numpy as np
import pytest

from app.bundle.scoring import unit
from tests.training.tiny import MakeRecipe
from training.data import load
from training.data.rows import Splits
from training.errors import DataError
from training.evaluation import retrieval
from training.evaluation.retrieval import judge_retrieval, query_figures, ranking_figures, rivals
from training.finetune import build_model
from training.modeling import load_encoder
from training.recipe import Recipe


def test_figures_of_a_query_are_those_of_its_rank() -> None:
    figures = query_figures(np.array([1, 2, 5, 10, 11]))

    assert {name: values_N.tolist() for name, values_N in figures.items()} == {
        "recall_at_1": [1, 0, 0, 0, 0],
        "recall_at_5": [1, 1, 1, 0, 0],
        "recall_at_10": [1, 1, 1, 1, 0],
        "mrr": [1, 1 / 2, 1 / 5, 1 / 10, 1 / 11],
        "mrr_at_10": [1, 1 / 2, 1 / 5, 1 / 10, 0],
        "ndcg_at_10": [1, 1 / math.log2(3), 1 / math.log2(6), 1 / math.log2(11), 0],
    }


def test_every_figure_has_its_mean_and_an_interval_around_it() -> None:
    figures = ranking_figures(np.array([1] * 60 + [3] * 40))

    intervals = figures.pop("intervals")
    assert isinstance(intervals, dict) and intervals.keys() == figures.keys()
    assert figures["recall_at_1"] == 0.6
    assert figures["mrr"] == pytest.approx(0.6 + 0.4 / 3)
    assert intervals["recall_at_1"][0] < 0.6 < intervals["recall_at_1"][1]
    assert intervals["recall_at_5"] == [1.0, 1.0]


def test_rivals_are_the_other_texts_that_are_as_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "BLOCK", 3)  # several blocks, the last not full
    generator = np.random.default_rng(0)
    queries, positives, others = (unit(generator.normal(size=(rows, 4)).astype(np.float32)) for rows in (6, 6, 20))

    ahead_N = rivals(queries, positives, others)

    pairs = zip(queries, positives, strict=True)
    assert ahead_N.tolist() == [sum(query @ other >= query @ own for other in others) for query, own in pairs]


def test_a_corpus_makes_it_harder_and_is_counted(make_recipe: MakeRecipe, pairs: Splits) -> None:
    recipe = make_recipe(task="embed")
    loaded = load_encoder(recipe.encoder)
    model = build_model(loaded, recipe, []).eval()
    corpus = [row.text for row in pairs.test]  # nothing is nearer to a query

    alone = judge_retrieval(model, loaded, pairs.test, [])
    among = judge_retrieval(model, loaded, pairs.test, corpus, [8])

    assert "corpus" not in alone
    wider = among.pop("corpus")
    cut = among.pop("cuts")
    assert among == alone
    assert isinstance(wider, dict) and isinstance(cut, dict)
    assert wider["texts"] == len({row.positive for row in pairs.test}) + len(corpus)
    assert wider["mrr"] < alone["mrr"]
    assert cut["8"].keys() == {*alone, "corpus"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split in ("train", "dev", "test"):
        lines = (f'{{"text": "{split} {n}", "positive": "right of {split} {n}"}}' for n in range(4))
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    return tmp_path


def corpus_recipe(make_recipe: MakeRecipe) -> Recipe:
    files = {"train": "train.jsonl", "dev": "dev.jsonl", "test": "test.jsonl", "corpus": "corpus.jsonl"}
    return make_recipe(task="embed", data={"source": "files", **files})


def test_texts_of_a_corpus_are_kept_once_and_apart_from_the_positives(make_recipe: MakeRecipe, folder: Path) -> None:
    texts = ["other", "Other ", "RIGHT of test 1", "right of train 1"]
    (folder / "corpus.jsonl").write_text("\n".join(f'{{"text": "{text}"}}' for text in texts))

    splits = load(corpus_recipe(make_recipe), folder)

    assert splits.corpus == ["other", "right of train 1"]
    assert "corpus.jsonl" in splits.digests


def test_faults_of_a_corpus_are_told_by_line(make_recipe: MakeRecipe, folder: Path) -> None:
    (folder / "corpus.jsonl").write_text('{"text": "good"}\n{"text": ""}\n{"title": "x"}\n')

    with pytest.raises(DataError) as refusal:
        load(corpus_recipe(make_recipe), folder)

    assert refusal.value.problems == [
        'corpus.jsonl:2: "text" is empty',
        'corpus.jsonl:3: no key "text"; its keys: title',
    ]


def test_a_corpus_that_is_not_there_is_told(make_recipe: MakeRecipe, folder: Path) -> None:
    with pytest.raises(DataError) as refusal:
        load(corpus_recipe(make_recipe), folder)

    assert "corpus.jsonl" in refusal.value.problems[0]
