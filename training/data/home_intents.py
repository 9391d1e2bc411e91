"""Which sentences teach the home intents?

Sentences are drawn from the templates of the package `home-assistant-intents`; the label is the intent without `Hass`.

Who stands where, decided by whole templates (equal texts are one template, however many blocks hold them):

- test: an intent with at least `held_out` templates gives one in `held_out`, the ones whose hash with the split seed
  is lowest. Intents with fewer stand wholly in train – held-out wordings whose cue word never occurs in train would
  measure nothing – and so are not tested.
- dev: the same rule again over what is left, with half the share, so that dev measures what test measures (unseen
  templates) and a temperature fitted on it holds there. Sampled from train templates, dev would flatter.
- train: the rest.

A sentence that stands under two intents, or that templates of two splits gave, is dropped everywhere. The figures are
about unseen templates, not about people's own sentences. The same on every machine: seeded by strings, hashed by
sha256, sorted.
"""

import hashlib
import importlib.metadata
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, zip_longest
from typing import Any, Literal, get_args

import home_assistant_intents
from hassil.intents import Intents
from hassil.parse_expression import parse_sentence

from training.data.expand import Expander
from training.data.rows import Counts, Row, Splits, normal
from training.data.slots import Slots, values_of
from training.errors import DataError
from training.recipe.data import HomeIntentsData

PACKAGES = ("home-assistant-intents", "hassil")
ORIGIN = (
    "Sentences sampled from the templates of the Python packages home-assistant-intents (Apache-2.0) with the parser of"
    " hassil (Apache-2.0); slot values written for this project."
)
HELD_OUT_ROWS = 8  # sentences of a dev or test template: more wordings of one template are no new evidence
MAX_TRIES = 4  # draws per wanted sentence: a template with few wordings repeats itself

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, slots=True)
class Template:
    """One sentence template of one block of an intent."""

    label: str
    text: str
    where: str
    domains: tuple[str, ...]
    tree: Any  # hassil's Expression


def load_home_intents(data: HomeIntentsData) -> Splits:
    """Sampled sentences in three splits. Sentences sampled for train but not drawn are not counted.

    Raises:
        DataError: no templates or no slot values for the language.
    """
    templates, slots = read_templates(data.language)
    side = assign(templates, data.held_out, data.split_seed)
    rows, rejected, repeated = distinct(sample(templates, slots, data, side), side)
    splits: dict[Split, list[Row]] = {name: [row for row in rows if side[row.group or ""] == name] for name in SPLITS}
    splits["train"] = draw_train(splits["train"], data)
    return Splits(
        train=splits["train"],
        dev=splits["dev"],
        test=splits["test"],
        labels=sorted({row.label for row in splits["train"] if row.label is not None}),
        counts={
            name: Counts(
                len(splits[name]) + rejected[name] + repeated[name], len(splits[name]), rejected[name], repeated[name]
            )
            for name in SPLITS
        },
        digests={package: importlib.metadata.version(package) for package in PACKAGES},
        origin=data.origin or ORIGIN,
    )


def read_templates(language: str) -> tuple[list[Template], Slots]:
    """Every template of `language`, in the order of the package, and what fills their slots."""
    values = values_of(language)
    raw = home_assistant_intents.get_intents(language)
    if raw is None:
        raise DataError(f'data.language: home-assistant-intents has no templates for "{language}"')
    intents = Intents.from_dict(raw)
    templates: list[Template] = []
    for name, intent in sorted(intents.intents.items()):
        blocks = [(text, block) for block in intent.data for text in block.sentence_texts]
        for number, (text, block) in enumerate(blocks, start=1):
            domain = block.requires_context.get("domain", [])
            domains = (domain,) if isinstance(domain, str) else tuple(domain)
            tree = parse_sentence(text).expression
            templates.append(Template(name.removeprefix("Hass"), text, f"{name} template {number}", domains, tree))
    return templates, Slots(language, Expander(intents.expansion_rules), intents.slot_lists, values)


def assign(templates: Iterable[Template], held_out: int, split_seed: int) -> dict[str, Split]:
    """The split of each template's text."""
    labels_of: dict[str, set[str]] = defaultdict(set)
    for template in templates:
        labels_of[template.text].add(template.label)
    side: dict[str, Split] = dict.fromkeys(labels_of, "train")
    texts_of: dict[str, list[str]] = defaultdict(list)
    for text, labels in labels_of.items():
        if len(labels) == 1:  # a text of two intents cannot be held out for one of them
            texts_of[min(labels)].append(text)
    for texts in texts_of.values():
        texts.sort(key=lambda text: _hash(split_seed, text))
        tested = len(texts) // held_out
        tuned = (len(texts) - tested) // (2 * held_out)
        side.update(dict.fromkeys(texts[:tested], "test"))
        side.update(dict.fromkeys(texts[tested : tested + tuned], "dev"))
    return side


def sample(templates: Iterable[Template], slots: Slots, data: HomeIntentsData, side: Mapping[str, Split]) -> list[Row]:
    """Different sentences of each template: up to `per_template`, and up to `HELD_OUT_ROWS` for dev and test."""
    rows: list[Row] = []
    for template in templates:
        wanted = data.per_template if side[template.text] == "train" else min(HELD_OUT_ROWS, data.per_template)
        chance = random.Random(f"{data.split_seed}:{template.where}:{template.text}")  # str seeds go through sha512
        fill = slots.filler(template.domains)
        drawn: dict[str, str] = {}
        for _ in range(MAX_TRIES * wanted):
            if len(drawn) == wanted:
                break
            text = slots.expander.draw(template.tree, chance, fill)
            drawn.setdefault(normal(text), text)
        rows += [Row(text, template.where, label=template.label, group=template.text) for text in drawn.values()]
    return rows


def distinct(rows: Sequence[Row], side: Mapping[str, Split]) -> tuple[list[Row], Counter[Split], Counter[Split]]:
    """The rows whose text has one intent and one split, each text once; how many were rejected for two intents, and
    how many dropped as repeats or for two splits, by split.
    """
    found: dict[str, set[tuple[str, Split]]] = defaultdict(set)
    for row in rows:
        found[normal(row.text)].add((row.label or "", side[row.group or ""]))
    kept: dict[str, Row] = {}
    rejected: Counter[Split] = Counter()
    repeated: Counter[Split] = Counter()
    for row in rows:
        key, split = normal(row.text), side[row.group or ""]
        if len({label for label, _ in found[key]}) > 1:
            rejected[split] += 1
        elif key in kept or len(found[key]) > 1:
            repeated[split] += 1
        else:
            kept[key] = row
    return list(kept.values()), rejected, repeated


def draw_train(rows: Iterable[Row], data: HomeIntentsData) -> list[Row]:
    """Rows drawn round-robin over the intents until there are `rows`; then intents with fewer than `rare_to` have
    theirs repeated up to that many.
    """
    queues: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        queues[row.label or ""].append(row)
    for label, queue in sorted(queues.items()):
        random.Random(f"{data.split_seed}:{label}").shuffle(queue)
    rounds = zip_longest(*(queues[label] for label in sorted(queues)))
    drawn = list(islice((row for round_ in rounds for row in round_ if row is not None), data.rows))
    had = Counter(row.label or "" for row in drawn)
    for label in sorted(had):
        own = [row for row in drawn if row.label == label]
        drawn += islice(cycle(own), max(0, data.rare_to - had[label]))
    return drawn


def _hash(split_seed: int, text: str) -> str:
    return hashlib.sha256(f"{split_seed}:{text}".encode()).hexdigest()
