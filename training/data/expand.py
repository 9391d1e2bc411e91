"""How is a sentence drawn from a template, each wording as likely as any other?

A template of hassil (`<turn> on [the] {name}`) is a tree of choices. `Expander` counts the wordings under every node
and descends in proportion to these counts, so that wordings are drawn uniformly; a slot counts as one wording, and its
value is drawn after. hassil's own sampler walks the tree in order – the first sentences of a template are alike – and
prints `{wildcard}` literally.
"""

import math
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from hassil.expression import (
    Alternative,
    Expression,
    ListReference,
    Permutation,
    RuleReference,
    Sentence,
    Sequence,
    TextChunk,
)

from training.errors import DataError

_BLANKS = re.compile(r"\s+")

Fill = Callable[[str, random.Random], str]  # list name → a value, in natural case


class Expander:
    """Draws wordings of templates.

    Args:
        rules: the bodies of `<rule>` references, by name.

    Counts are kept by the id of a node, so every tree must outlive the expander.
    """

    def __init__(self, rules: Mapping[str, Sentence]) -> None:
        self._rules = rules
        self._counts: dict[int, int] = {}

    def count(self, node: Expression) -> int:
        """How many wordings `node` has."""
        known = self._counts.get(id(node))
        if known is None:
            known = self._counts[id(node)] = self._count(node)
        return known

    def draw(self, node: Expression, chance: random.Random, fill: Fill) -> str:
        """One wording of `node`, blanks squeezed; `fill` gives the value of each `{list}` in it."""
        return _BLANKS.sub(" ", self._draw(node, chance, fill)).strip()

    def _count(self, node: Any) -> int:  # noqa: ANN401 - hassil's trees have no common typed accessor
        match node:
            case TextChunk() | ListReference():
                return 1
            case RuleReference():
                return self.count(self._rule(node))
            case Alternative():
                return sum(self.count(item) for item in node.items)
            case Permutation():
                return math.factorial(len(node.items)) * math.prod(self.count(item) for item in node.items)
            case Sequence():
                return math.prod(self.count(item) for item in node.items)
        raise DataError(f"a template has a part of an unknown kind: {type(node).__name__}")

    def _draw(self, node: Any, chance: random.Random, fill: Fill) -> str:  # noqa: ANN401 - see _count
        match node:
            case TextChunk():
                return str(node.original_text)
            case ListReference():
                return fill(node.list_name, chance)
            case RuleReference():
                return self._draw(self._rule(node), chance, fill)
            case Alternative():
                return self._draw(self._choose(node, chance), chance, fill)
            case Permutation():
                return "".join(self._draw(item, chance, fill) for item in chance.sample(node.items, len(node.items)))
            case Sequence():
                return "".join(self._draw(item, chance, fill) for item in node.items)
        raise DataError(f"a template has a part of an unknown kind: {type(node).__name__}")

    def _choose(self, node: Alternative, chance: random.Random) -> Expression:
        ticket = chance.randrange(self.count(node))
        for item in node.items:
            ticket -= self.count(item)
            if ticket < 0:
                return item
        raise AssertionError("the counts of an alternative add up to its own")

    def _rule(self, node: RuleReference) -> Expression:
        rule = self._rules.get(node.rule_name)
        if rule is None:
            raise DataError(f"a template names the rule <{node.rule_name}>, which its package does not have")
        return rule.expression
