"""Mined pairs are data that a recipe can be trained on, and the same pairs as before."""

import json
from pathlib import Path

import pytest

from tests.training.tiny import TEXTS
from training.__main__ import main
from training.data import load
from training.data.hard_negatives import Search
from training.errors import DataError, RecipeError
from training.mine import mine_recipe
from training.progress import Progress
from training.recipe import load_recipe

RECIPE = """
name = "pairs"
[data]
source = "files"
train = "pairs.jsonl"
dev_share = 0.2
test_share = 0.3
[encoder]
source = "{source}"
[head]
task = "embed"
[loss]
name = "in_batch_negatives"
"""
PAIRS = list(zip(TEXTS[:24], TEXTS[8:32], strict=True))


@pytest.fixture
def recipe(tmp_path: Path, tiny_encoder: Path) -> Path:
    """A recipe with pairs that it splits by itself."""
    lines = [json.dumps({"text": text, "positive": positive}) for text, positive in PAIRS]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    path = tmp_path / "pairs.toml"
    path.write_text(RECIPE.format(source=tiny_encoder))
    return path


def test_a_recipe_trains_on_its_mined_pairs(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mined"
    assert main(["mine", str(recipe), "--out", str(out), "--per-row", "2", "--absolute-margin", "0.001"]) == 0

    said = capsys.readouterr().out.splitlines()
    plain = load(load_recipe(recipe), recipe.parent)
    mined = load(load_recipe(recipe, [said[-1].partition("write in the recipe: ")[2]]), recipe.parent)
    assert {(row.text, row.positive) for row in mined.train} == {(row.text, row.positive) for row in plain.train}
    assert [row.text for row in mined.dev + mined.test] == [row.text for row in plain.dev + plain.test]
    negatives = [row.negative for row in mined.train if row.negative is not None]
    positives = {row.positive for row in plain.train}
    assert len(negatives) > len(plain.train)
    assert set(negatives) <= positives  # none of dev or test
    assert all(row.negative not in (row.text, row.positive) for row in mined.train)
    assert said[0].startswith(f"{len(negatives)} hard negatives for ")
    assert f"of {len(plain.train)} pairs of train, from {len(positives)} candidates; " in said[0]


def test_mining_again_gives_the_same_bytes_and_a_corpus_more_candidates(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS[32:]))

    def mined(name: str, corpus: Path | None = None) -> tuple[bytes, int]:
        search = Search(margin=0.0)
        found = mine_recipe(recipe, tmp_path / name, progress=Progress(), corpus=corpus, search=search)
        return (tmp_path / name / "train.jsonl").read_bytes(), found.candidates

    first, second, more = mined("a"), mined("b"), mined("c", tmp_path / "more.jsonl")

    assert first == second
    assert more[1] == first[1] + len(TEXTS[32:])
    assert any(text in json.loads(line)["negative"] for line in more[0].splitlines() for text in TEXTS[32:])


def test_a_pair_without_a_hard_negative_stays(recipe: Path, tmp_path: Path) -> None:
    found = mine_recipe(recipe, tmp_path / "none", progress=Progress(), search=Search(margin=1.99, absolute=True))

    rows = [json.loads(line) for line in (tmp_path / "none" / "train.jsonl").read_text().splitlines()]
    assert found.without == found.pairs == len(rows)
    assert {row["negative"] for row in rows} == {None}


def test_what_has_no_pairs_or_a_bad_corpus_is_refused(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n{"text": 3}\n')

    with pytest.raises(DataError, match=r'bad\.jsonl:2: "text" is a number \(3\), not a text'):
        mine_recipe(recipe, tmp_path / "out", progress=Progress(), corpus=tmp_path / "bad.jsonl")
    with pytest.raises(RecipeError, match=r"pairs: data\.columns\.score: pairs with a score are no matches"):
        scored = ['data.columns.score="score"', 'loss.name="cosent"']
        mine_recipe(recipe, tmp_path / "out", progress=Progress(), overrides=scored)
    labelled = recipe.read_text().replace('task = "embed"', 'task = "classify"')
    recipe.write_text(labelled.replace("in_batch_negatives", "focal"))
    with pytest.raises(RecipeError, match=r"pairs: hard negatives are of pairs; give it \[data\] and head.task"):
        mine_recipe(recipe, tmp_path / "out", progress=Progress())


@pytest.mark.parametrize("wrong", [["--per-row", "0"], ["--relative-margin", "-1"], ["--absolute-margin", "x"]])
def test_wrong_numbers_are_wrong_usage(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["mine", "pairs.toml", "--out", "x", *wrong])

    assert end.value.code == 2
    assert "is not a" in capsys.readouterr().err
