"""Home intents: no template and no sentence in two splits, every slot filled, the same on every machine."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import home_assistant_intents
import pytest
from hassil.intents import Intents, TextSlotList
from hassil.recognize import recognize_all

from training.data import load
from training.data.home_intents import Template, assign, load_home_intents, read_templates
from training.data.rows import Row, Splits, normal
from training.errors import DataError, RecipeError
from training.recipe import load_recipe
from training.recipe.data import HomeIntentsData
from training.recipe.heads import EmbedTask

ROOT = Path(__file__).parents[3]
RECIPE = ROOT / "models" / "recipes" / "home-intents.toml"
DATA = HomeIntentsData(source="home-assistant-intents")


@pytest.fixture(scope="module")
def splits() -> Splits:
    return load(load_recipe(RECIPE), RECIPE.parent)


def digest(splits: Splits) -> str:
    return hashlib.sha256(repr((splits.train, splits.dev, splits.test)).encode()).hexdigest()


def groups(rows: list[Row]) -> set[str]:
    return {row.group for row in rows if row.group is not None}


def test_no_template_stands_in_two_splits(splits: Splits) -> None:
    train, dev, test = groups(splits.train), groups(splits.dev), groups(splits.test)

    assert not train & dev and not train & test and not dev & test
    assert len(test) > 100 and len(dev) > 30


def test_no_sentence_stands_in_two_splits_or_under_two_intents(splits: Splits) -> None:
    train, dev, test = ({normal(row.text) for row in rows} for rows in (splits.train, splits.dev, splits.test))
    labels = {(normal(row.text), row.label) for row in [*splits.train, *splits.dev, *splits.test]}

    assert not train & dev and not train & test and not dev & test
    assert len(labels) == len(train | dev | test)


def test_every_intent_is_trained_often_enough(splits: Splits) -> None:
    rows_of = Counter(row.label for row in splits.train)

    assert sorted(label for label in rows_of if label) == splits.labels
    assert len(splits.labels) >= 40
    assert {"TurnOn", "TurnOff", "GetCurrentTime", "StartTimer", "LightSet", "MediaSearchAndPlay"} <= set(splits.labels)
    assert min(rows_of.values()) >= DATA.rare_to
    assert {row.label for row in [*splits.dev, *splits.test]} <= set(splits.labels)


def test_rows_are_drawn_evenly_over_the_intents(splits: Splits) -> None:
    rows_of = Counter(row.label for row in splits.train)

    assert DATA.rows <= len(splits.train) <= DATA.rows + DATA.rare_to * len(rows_of)
    assert max(rows_of.values()) < 2 * DATA.rows / len(rows_of)


def test_every_slot_is_filled(splits: Splits) -> None:
    everything = [*splits.train, *splits.dev, *splits.test]

    assert [row.text for row in everything if re.search(r"[{}<>\[\]()|;]", row.text)] == []
    assert [row.text for row in everything if row.text != " ".join(row.text.split()) or not row.text] == []


def test_names_fit_the_domain_of_the_template() -> None:
    templates, slots = read_templates("en")
    of_lights = {template.domains for template in templates if template.label == "LightSet"} - {()}

    assert of_lights == {("light",)}
    assert "garage door" not in slots.values["names"]["light"]


def test_held_out_share_follows_the_rule() -> None:
    texts = {f"template {number}" for number in range(40)}
    many = [Template("Many", text, "", (), None) for text in texts]
    few = [Template("Few", f"few {number}", "", (), None) for number in range(4)]
    both = [Template(label, "shared", "", (), None) for label in ("Many", "Few")]

    side = assign([*many, *few, *both], held_out=5, split_seed=7)

    assert Counter(side[text] for text in texts) == {"train": 29, "dev": 3, "test": 8}
    assert {side[template.text] for template in [*few, *both]} == {"train"}


def test_split_seeds_hold_out_other_templates(splits: Splits) -> None:
    other = load_home_intents(DATA.model_copy(update={"split_seed": 8}))

    assert groups(other.test) != groups(splits.test)
    assert other.labels == splits.labels


def test_the_same_rows_come_out_in_every_process(splits: Splits) -> None:
    code = (
        "import hashlib; from training.data.home_intents import load_home_intents as load;"
        "from training.recipe.data import HomeIntentsData as Data; s = load(Data(source='home-assistant-intents'));"
        "print(hashlib.sha256(repr((s.train, s.dev, s.test)).encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )

    assert done.stdout.strip() == digest(splits)


def test_versions_and_origin_are_recorded(splits: Splits) -> None:
    assert set(splits.digests) == {"home-assistant-intents", "hassil"}
    assert "Apache-2.0" in splits.origin


def test_language_without_slot_values_is_refused() -> None:
    with pytest.raises(DataError, match='no slot values for "xx"; there are some for: en'):
        load_home_intents(DATA.model_copy(update={"language": "xx"}))


def test_a_head_that_embeds_is_refused() -> None:
    recipe = load_recipe(RECIPE).model_copy(update={"head": EmbedTask(task="embed")})

    with pytest.raises(RecipeError, match="give it a head that classifies"):
        load(recipe, RECIPE.parent)


def probes() -> list[dict[str, str]]:
    file = RECIPE.parent / "home-intents.probes.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_probes_have_known_labels_and_no_text_twice(splits: Splits) -> None:
    assert len(probes()) == 40
    assert len({normal(probe["text"]) for probe in probes()}) == 40
    assert {probe["label"] for probe in probes()} <= set(splits.labels)


def test_no_template_yields_a_probe() -> None:
    """Asked of hassil's recogniser, given the very values the sentences are sampled with (it also skips "please")."""
    raw = home_assistant_intents.get_intents("en")
    _, slots = read_templates("en")
    names = [(name, name, {"domain": domain}) for domain, names in slots.values["names"].items() for name in names]
    own = {**slots.values["lists"], "area": slots.values["areas"], "floor": slots.values["floors"]}
    lists = {name: TextSlotList.from_strings(values, name=name) for name, values in own.items()}
    lists["name"] = TextSlotList.from_tuples(names, name="name")
    intents = Intents.from_dict(raw)

    def yielding(text: str) -> list[str]:
        context = {"area": "kitchen"}
        return [found.intent.name for found in recognize_all(text, intents, slot_lists=lists, intent_context=context)]

    assert "HassTurnOn" in yielding("turn on the kitchen lights")  # the question is put rightly
    assert "HassStartTimer" in yielding("play some jazz in ten minutes")
    assert {probe["text"]: yielding(probe["text"]) for probe in probes() if yielding(probe["text"])} == {}
