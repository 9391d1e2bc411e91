"""Heads beside the primary one, as a file has them."""

from pathlib import Path

import pytest

from training.errors import RecipeError
from training.recipe import load_recipe
from training.recipe.data import FileData

RECIPE = """
name = "two"
[data]
source = "files"
train = "x.csv"
columns = { text = "message", label = "team" }
label_separator = "|"
[encoder]
source = "package:any"
[head]
task = "classify"
[loss]
name = "cross_entropy"

[[more_heads]]
column = "topics"
head = { task = "classify", name = "topics", problem_type = "multi_label" }
loss = { name = "binary_cross_entropy" }

[[more_heads]]
data = { source = "files", train = "${FOLDER}/y.csv" }
head = { task = "classify", name = "stars", problem_type = "regression" }
loss = { name = "mse" }
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOLDER", "/folder")
    file = tmp_path / "two.toml"
    file.write_text(RECIPE)
    return file


def test_a_head_alone_has_its_column_or_its_own_data(path: Path) -> None:
    recipe = load_recipe(path)

    topics, stars = (recipe.alone(more) for more in recipe.more_heads)

    assert isinstance(topics.data, FileData)
    assert isinstance(stars.data, FileData)
    assert (topics.data.train, topics.data.columns.text, topics.data.columns.label) == ("x.csv", "message", "topics")
    assert (stars.data.train, stars.data.columns.value) == ("/folder/y.csv", "value")
    assert topics.more_heads == stars.more_heads == []
    assert (topics.head.name, stars.head.name) == ("topics", "stars")


WRONG = {
    "a key": ("column = ", "colum = ", "more_heads.0.colum is not a key; did you mean more_heads.0.column?"),
    "a key of a head": (
        'problem_type = "multi',
        'problem_typ = "multi',
        "more_heads.0.head.problem_typ is not a key; did you mean more_heads.0.head.problem_type?",
    ),
    "a kind of data": (
        'data = { source = "files"',
        'data = { source = "file"',
        'more_heads.1.data.source: is none of "files", ',
    ),
    "a key of other data": (
        'train = "${FOLDER}/y.csv"',
        'train = "y", rows = 9',
        'more_heads.1.data.rows is not a key here: it belongs to more_heads.1.data.source = "home-assistant-intents"',
    ),
    "a value of data": (
        'train = "${FOLDER}/y.csv"',
        'train = "y", dev_share = 2.0',
        "more_heads.1.data.dev_share: should be less than 0.5, not 2.0",
    ),
    "a variable": ("${FOLDER}", "${NO_SUCH}", "more_heads.1.data.train: the variable NO_SUCH is not set"),
    "neither column nor data": ('column = "topics"', "", "more_heads.0: `column` (of the primary rows) or `data`"),
    "both": ('column = "topics"', 'column = "t"\ndata = { source = "files", train = "x" }', "one of the two is needed"),
    "a loss of other heads": (
        '"mse"',
        '"focal"',
        "more_heads.1: a head for regression trains with loss 'mse' or 'huber'",
    ),
    "an embed head": (
        'task = "classify", name = "stars", problem_type = "regression"',
        'task = "embed"',
        'more_heads.1.head: should have `task = "classify"`: every bundle offers the vector under its heads already',
    ),
    "a separator that nobody reads": (
        'name = "topics", problem_type = "multi_label" }\nloss = { name = "binary_cross_entropy" }',
        'name = "topics" }\nloss = { name = "focal" }',
        'data.label_separator = "|" and head.task = "classify" disagree',
    ),
}


@pytest.mark.parametrize(("was", "by", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_by_its_place(was: str, by: str, message: str, path: Path) -> None:
    path.write_text(RECIPE.replace(was, by, 1))

    with pytest.raises(RecipeError) as refusal:
        load_recipe(path)

    assert message in str(refusal.value)


def test_heads_without_data_to_learn_from_are_refused(path: Path) -> None:
    alone, more = RECIPE.split("[[more_heads]]", 1)
    head = alone.split("[data]")[0] + '[encoder]\nsource = "x"\n[head]\ntask = "embed"\n\n[[more_heads]]' + more
    path.write_text(head)

    with pytest.raises(RecipeError, match="`more_heads` learn, and without `data` and `loss` nothing does"):
        load_recipe(path)
