"""A recipe is read strictly, and what is wrong with it is said with the way out."""

from pathlib import Path

import pytest

from training.errors import RecipeError
from training.recipe import load_recipe
from training.recipe.data import FileData, HomeIntentsData
from training.recipe.encoder import EncoderTable, RecurrentEncoder

RECIPES = Path(__file__).parents[2] / "models" / "recipes"
GOOD = """
name = "home"
[encoder]
source = "package:some-encoder"
[head]
task = "classify"
[loss]
name = "cross_entropy"
[data]
source = "home-assistant-intents"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "home.toml"
    file.write_text(GOOD, encoding="utf-8")
    return file


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


@pytest.mark.parametrize("recipe", sorted(RECIPES.rglob("*.toml")), ids=lambda path: path.name)
def test_shipped_recipes_load(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCODERY_DATA", "/data")

    loaded = load_recipe(recipe)

    assert loaded.name == recipe.stem
    assert loaded.description
    assert loaded.probes is None or (RECIPES / loaded.probes).is_file()


def test_overrides_are_read_as_toml(path: Path) -> None:
    overrides = ["optim.lr=2e-5", "budget.epochs=5", "baselines=true", 'data.language="de"', "data.held_out = 4"]

    recipe = load_recipe(path, overrides)

    assert isinstance(recipe.data, HomeIntentsData)
    assert (recipe.optim.lr, recipe.budget.epochs, recipe.baselines) == (2e-5, 5, True)
    assert (recipe.data.language, recipe.data.held_out) == ("de", 4)


def test_bare_words_are_strings(path: Path) -> None:
    recipe = load_recipe(path, ["encoder.source=package:another", "description=two words"])

    assert isinstance(recipe.encoder, EncoderTable)
    assert (recipe.encoder.source, recipe.description) == ("package:another", "two words")


def test_override_can_name_a_key_with_dots(path: Path) -> None:
    path.write_text(GOOD.replace('"home-assistant-intents"', '"files"\ntrain = "x.csv"'), encoding="utf-8")

    recipe = load_recipe(path, [f'data.sha256."x.csv"={"0" * 64}'])

    assert isinstance(recipe.data, FileData)
    assert recipe.data.sha256 == {"x.csv": "0" * 64}


def test_variables_in_paths_are_expanded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_FOLDER", "/some/folder")
    path.write_text(
        GOOD.replace('"home-assistant-intents"', '"files"\ntrain = "${SOME_FOLDER}/x.csv"'), encoding="utf-8"
    )

    recipe = load_recipe(path, ["encoder.source=${SOME_FOLDER}/encoder", "probes=${SOME_FOLDER}/p.jsonl"])

    assert isinstance(recipe.data, FileData)
    assert recipe.data.train == "/some/folder/x.csv"
    assert isinstance(recipe.encoder, EncoderTable)
    assert (recipe.encoder.source, recipe.probes) == ("/some/folder/encoder", "/some/folder/p.jsonl")


def test_variables_elsewhere_are_left_alone(path: Path) -> None:
    assert load_recipe(path, ["description=costs ${FIVE}"]).description == "costs ${FIVE}"


WRONG = {
    "abbreviated key": ("optim.learning_rate=1e-4", "optim.learning_rate is not a key; did you mean optim.lr?"),
    "key of another table": ("optim.epochs=3", "optim.epochs is not a key; did you mean budget.epochs?"),
    "key without its table": ("batch_size=8", "batch_size is not a key; did you mean budget.batch_size?"),
    "misspelt key": ("encoder.max_tokns=9", "encoder.max_tokns is not a key; did you mean encoder.max_tokens?"),
    "misspelt table": ("budgt.epochs=3", "budgt is not a key; did you mean budget?"),
    "key of another kind of data": (
        "data.train=x.csv",
        'data.train is not a key here: it belongs to data.source = "files"',
    ),
    "misspelt source": (
        "data.source=file",
        'data.source: is none of "files", "dataset", "home-assistant-intents"; did you mean "files"?',
    ),
    "misspelt task": ("head.task=clasify", 'head.task: is none of "embed", "classify"; did you mean "classify"?'),
    "missing key of a kind of data": ("data={source='files'}", "data.train: is missing"),
    "too small": ("budget.epochs=0", "budget.epochs: should be greater than or equal to 1, not 0"),
    "a text for a number": ("budget.epochs=many", "budget.epochs: should be a valid integer, not 'many'"),
    "a fraction for a whole number": ("budget.epochs=1.5", "budget.epochs: should be a valid integer, not 1.5"),
    "a number for a text": ("name=3", "name: should be a valid string, not 3"),
    "true for a number": ("seed=true", "seed: should be a valid integer, not True"),
    "not finite": ("optim.lr=inf", "optim.lr: should be a finite number, not inf"),
    "a value for a table": ("optim=1", "optim: should be a table, not 1"),
    "a value for a table of several kinds": ("head=1", "head: should be a table, not 1"),
    "key of a fresh encoder": (
        "encoder.hidden=64",
        'encoder.hidden is not a key here: it belongs to encoder.kind = "lstm"',
    ),
    "misspelt kind of encoder": (
        "encoder.kind=lstmm",
        'encoder.kind: is none of "pretrained", "lstm", "gru", "rnn", "transformer"; did you mean "lstm"?',
    ),
    "a value for an encoder": ("encoder=1", "encoder: should be a table, not 1"),
    "variable that is not set": (
        "encoder.source=${NO_SUCH_VARIABLE}/x",
        "encoder.source: the variable NO_SUCH_VARIABLE is not set; set it: export NO_SUCH_VARIABLE=FOLDER",
    ),
    "scope without a score": (
        "head.out_of_scope={false_alarms=0.1}",
        "head.out_of_scope: `score`, or the `label` of rows to choose one by, is missing",
    ),
    "scope with two lines": (
        "head.out_of_scope={score='energy', threshold=3.0, false_alarms=0.1}",
        "head.out_of_scope: `threshold` and `false_alarms` both say where the line is; leave one out",
    ),
    "threshold of no score": (
        "head.out_of_scope={label='none', threshold=3.0}",
        "head.out_of_scope: `threshold` is a number of one `score`; name it, or leave `threshold` out",
    ),
    "probability over 1": (
        "head.out_of_scope=1.5",
        "head.out_of_scope: the threshold of a probability should be from 0 to 1, not 1.5",
    ),
    "score that is none": (
        "head.out_of_scope={score='entropy'}",
        "head.out_of_scope.score: should be 'max_probability', 'energy' or 'mahalanobis', not 'entropy'",
    ),
    "coverage of everything": ("head.coverages=[1.0]", "head.coverages.0: should be less than 1, not 1.0"),
    "published rows without a published test": (
        "data={source='files', train='x.csv', as_published=true}",
        "data: `as_published` needs `test`: without it the test rows are split off from `train` here",
    ),
    "train kept apart from itself": (
        "data={source='files', train='x.csv', apart_from=['train']}",
        "data.apart_from.0: should be 'dev' or 'test', not 'train'",
    ),
    "tables that do not fit": (
        "loss.name=in_batch_negatives",
        "a head for classify trains with loss 'cross_entropy' or 'focal', not 'in_batch_negatives'",
    ),
    "key of another loss": (
        "loss.scale=3.0",
        'loss: `scale` belongs to name = "in_batch_negatives" or "cosent" or "angle", not "cross_entropy"; '
        "leave it out",
    ),
    "temperature of nothing": (
        "loss.temperature=0.2",
        "loss: `temperature` is of the contrastive loss, whose `contrastive_share` is 0; leave it out",
    ),
}


@pytest.mark.parametrize(("override", "message"), WRONG.values(), ids=WRONG)
def test_wrong_value_is_refused_by_its_key(path: Path, override: str, message: str) -> None:
    assert refusal(path, override) == f"home.toml: {message}"


def test_a_fresh_encoder_needs_data(path: Path) -> None:
    path.write_text('name = "x"\n[encoder]\nkind = "gru"\n[head]\ntask = "embed"\n', encoding="utf-8")

    message = '`encoder.kind = "gru"` and a recipe without `data` disagree: its weights are fresh'
    assert refusal(path) == f"home.toml: {message}"


def test_kind_of_encoder_is_pretrained_where_it_is_not_said(path: Path) -> None:
    """And says nothing in a manifest, nor to a run that is taken up again."""
    silent, said = load_recipe(path), load_recipe(path, ["encoder.kind=pretrained"])

    assert isinstance(said.encoder, EncoderTable)
    assert said == silent
    assert "kind" not in said.model_dump(mode="json")["encoder"]


FRESH = GOOD.replace('source = "package:some-encoder"', 'kind = "transformer"')
WRONG_FRESH = {
    "key of a pretrained encoder": (
        "encoder.source=x",
        'encoder.source is not a key here: it belongs to encoder.kind = "pretrained"',
    ),
    "misspelt key of a tokenizer": (
        "encoder.tokenizer.sise=100",
        "encoder.tokenizer.sise is not a key; did you mean encoder.tokenizer.size?",
    ),
    "kind of tokenizer that is none": (
        "encoder.tokenizer.kind=unigram",
        "encoder.tokenizer.kind: should be 'wordpiece', 'bpe' or 'characters', not 'unigram'",
    ),
    "too few tokens for bytes": (
        "encoder.tokenizer={kind='bpe', size=100}",
        'encoder.tokenizer: `size = 100` and `kind = "bpe"` disagree: the 256 bytes and 4 special tokens come first; '
        "take at least 300",
    ),
    "activation of a cell with gates": (
        "encoder={kind='lstm', activation='relu'}",
        'encoder: `activation` and `kind = "lstm"` disagree: its gates have their own',
    ),
    "heads that do not share a state": (
        "encoder={hidden=100, heads=3}",
        "encoder: `hidden = 100` and `heads = 3` disagree: the heads share a state evenly",
    ),
    "pairs of an odd head": (
        "encoder={hidden=12, heads=4}",
        'encoder: `positions = "rotary"` and `heads = 4` disagree: it turns pairs of values, and a head has 3',
    ),
}


@pytest.mark.parametrize(("override", "message"), WRONG_FRESH.values(), ids=WRONG_FRESH)
def test_wrong_value_of_a_fresh_encoder_is_refused_by_its_key(path: Path, override: str, message: str) -> None:
    path.write_text(FRESH, encoding="utf-8")

    assert refusal(path, override) == f"home.toml: {message}"


def test_a_fresh_encoder_keeps_its_kind(path: Path) -> None:
    path.write_text(FRESH, encoding="utf-8")

    recipe = load_recipe(path, ["encoder.kind=gru", "encoder.hidden=8"])

    assert isinstance(recipe.encoder, RecurrentEncoder)
    assert recipe.model_validate(recipe.model_dump(mode="json")) == recipe
    assert (recipe.encoder.kind, recipe.encoder.hidden) == ("gru", 8)


def test_every_wrong_value_is_named(path: Path) -> None:
    path.write_text("[encoder]\n[budget]\nepochs = 0\n", encoding="utf-8")

    assert refusal(path).splitlines() == [
        "home.toml: name: is missing",
        "home.toml: encoder.source: is missing",
        "home.toml: head: is missing",
        "home.toml: budget.epochs: should be greater than or equal to 1, not 0",
    ]


def test_every_unknown_key_is_named(path: Path) -> None:
    assert refusal(path, "a=1", "optim.b=2").count(" is not a key") == 2


def test_override_without_a_value_is_refused(path: Path) -> None:
    assert refusal(path, "optim.lr") == "--set optim.lr: write it as table.key=value"


def test_override_below_a_value_is_refused(path: Path) -> None:
    assert refusal(path, "name.first=x") == "--set name.first=x: name is a value, not a table"


def test_override_with_a_key_that_is_none_is_refused(path: Path) -> None:
    assert refusal(path, "a b=1") == '--set a b=1: "a b" is not a key; write it as table.key=value'


def test_broken_toml_is_refused_with_its_line(path: Path) -> None:
    path.write_text("name = \n", encoding="utf-8")

    assert refusal(path) == "home.toml: is not TOML: Invalid value (at line 1, column 8)"


def test_recipe_that_is_not_utf8_is_refused(path: Path) -> None:
    path.write_bytes(b'name = "caf\xe9"')

    assert refusal(path) == "home.toml: is not UTF-8: byte 0xe9 at 11"


def test_missing_recipe_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.toml") == f"{tmp_path / 'none.toml'}: cannot be read: No such file or directory"
