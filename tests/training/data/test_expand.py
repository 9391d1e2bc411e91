"""Wordings of a template are drawn uniformly, and slots are filled."""

import random
from collections import Counter

import pytest
from hassil.parse_expression import parse_sentence

from training.data.expand import Expander
from training.errors import DataError

RULES = {"the": parse_sentence("(the|my|our)"), "here": parse_sentence("[in] (here|<the> room)")}
TEMPLATES = {
    "optional": ("light on [please]", 2),
    "rule in an optional": ("dim [<the>] light", 4),
    "nested": ("light on [<here>]", 9),
    "permutation": ("turn (on;the light;now)", 6),
    "slot": ("dim [<the>] {name}", 4),
}


def fill(list_name: str, chance: random.Random) -> str:
    return chance.choice(["lamp", "bulb"]) if list_name == "name" else "?"


@pytest.mark.parametrize(("template", "count"), TEMPLATES.values(), ids=TEMPLATES)
def test_every_wording_is_as_likely(template: str, count: int) -> None:
    expander, tree = Expander(RULES), parse_sentence(template)
    chance = random.Random(1)

    drawn = Counter(expander.draw(tree.expression, chance, fill).replace("bulb", "lamp") for _ in range(400 * count))

    assert expander.count(tree.expression) == count
    assert len(drawn) == count
    assert all(320 < times < 480 for times in drawn.values())  # 400 expected, standard deviation below 20


def test_rule_that_is_not_there_is_named() -> None:
    tree = parse_sentence("dim <nothing>")

    with pytest.raises(DataError, match="the rule <nothing>, which its package does not have"):
        Expander(RULES).count(tree.expression)
