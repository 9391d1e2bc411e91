"""What fills the slots of a sentence template?

The values of the template package where it has some (colours, states, ranges of numbers), else those of
`home_intents_<language>.json` beside this file: areas, floors, names of devices by domain, and plausible words for
every wildcard. A name fits the domain its template is for – a light is dimmed, a cover is opened – or labels blur
(measured: 88 % against 97 % for the linear baseline with loose names).
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

from hassil.intents import RangeSlotList, SlotList, TextSlotList
from hassil.numbers import get_rbnf_engine

from training.data.expand import Expander, Fill
from training.errors import DataError


@dataclass(frozen=True)
class Slots:
    """The values of every slot list of one language."""

    language: str
    expander: Expander
    lists: Mapping[str, SlotList]  # what the package has
    values: Mapping[str, Any]  # what home_intents_<language>.json has

    def filler(self, domains: Sequence[str]) -> Fill:
        """A function that gives a value for a list's name; `{name}` is a device of one of `domains`."""
        names = [name for domain in domains for name in self._names(domain)]

        def fill(list_name: str, chance: random.Random) -> str:
            if list_name == "name" and names:
                return chance.choice(names)
            return self._value(list_name, chance)

        return fill

    def _names(self, domain: str) -> list[str]:
        names: list[str] | None = self.values["names"].get(domain)
        if names is None:
            raise DataError(f'no names for the domain "{domain}": add some to home_intents_{self.language}.json')
        return names

    def _value(self, list_name: str, chance: random.Random) -> str:
        own = self._own_lists.get(list_name)
        if own is not None:
            return str(chance.choice(own))
        match self.lists.get(list_name):
            case TextSlotList(values=values):
                node = chance.choice(values).text_in
                return self.expander.draw(node, chance, lambda name, again: self._value(name, again))
            case RangeSlotList() as numbers:
                return self._number(list_name, numbers, chance)
        raise DataError(f"no values for the slot {{{list_name}}}: add some to home_intents_{self.language}.json")

    @cached_property
    def _own_lists(self) -> dict[str, list[str]]:
        return {**self.values["lists"], "area": self.values["areas"], "floor": self.values["floors"]}

    def _number(self, list_name: str, numbers: RangeSlotList, chance: random.Random) -> str:
        low, high = self.values["ranges"].get(list_name, (numbers.start, numbers.stop))  # hours: 1 to 12, not to 100
        number = chance.choice([number for number in numbers.get_numbers() if low <= number <= high])
        in_words = numbers.words and isinstance(number, int) and chance.random() < 0.5
        return self._words(number) if in_words or not numbers.digits else str(number)

    @cached_property
    def _words(self) -> Callable[[int], str]:
        engine = get_rbnf_engine(self.language)
        return lambda number: str(engine.format_number(number).text)


def values_of(language: str) -> dict[str, Any]:
    """The values we ship for `language`.

    Raises:
        DataError: there are none.
    """
    folder = resources.files(__package__)
    file = folder / f"home_intents_{language}.json"
    if not file.is_file():
        known = sorted(
            item.name.removeprefix("home_intents_").removesuffix(".json")
            for item in folder.iterdir()
            if item.name.startswith("home_intents_") and item.name.endswith(".json")
        )
        raise DataError(f'data.language: no slot values for "{language}"; there are some for: {", ".join(known)}')
    values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return values
