"""The parts of a tiny encoder with a real tokenizer, and of data it can learn in a second."""

from collections.abc import Callable

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig

from training.data.rows import Counts, Row, Splits
from training.recipe import Recipe

VERBS = {"switch_on": ["switch on", "turn on", "start"], "switch_off": ["switch off", "turn off", "stop"]}
THINGS = ["lamp", "fan", "heater", "radio", "kettle", "light in the kitchen", "old television", "garden pump"]
TEXTS = [f"{verb} the {thing}" for verbs in VERBS.values() for verb in verbs for thing in THINGS]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

MakeRecipe = Callable[..., Recipe]


def wordpiece() -> Tokenizer:
    """A WordPiece tokenizer that pads and truncates by itself, as some published ones do."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = sorted({word for text in TEXTS for word in text.split() if len(word) > 1})
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *words]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}  # not trained: a trainer breaks ties at random
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    return tokenizer


def bert_config(**changes: object) -> BertConfig:
    """Two layers of 32."""
    sizes: dict[str, object] = {
        "vocab_size": 200,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
    }
    return BertConfig(**{**sizes, **changes})


def intent_splits() -> Splits:
    """48 sentences under two labels; one in four goes to dev, one to test."""
    parts: dict[str, list[Row]] = {"train": [], "dev": [], "test": []}
    for label, verbs in VERBS.items():
        for number, (verb, thing) in enumerate((verb, thing) for verb in verbs for thing in THINGS):
            split = {2: "dev", 3: "test"}.get(number % 4, "train")
            parts[split].append(Row(f"{verb} the {thing}", f"{label}.jsonl:{number + 1}", label=label))
    return _splits(parts, sorted(VERBS))


def pair_splits() -> Splits:
    """Pairs of sentences that say the same of the same thing."""
    parts: dict[str, list[Row]] = {"train": [], "dev": [], "test": []}
    for number, thing in enumerate(THINGS):
        split = {6: "dev", 7: "test"}.get(number, "train")
        for verbs in VERBS.values():
            first, second, third = (f"{verb} the {thing}" for verb in verbs)
            negative = f"{'stop' if verbs[0] == 'switch on' else 'start'} the {thing}"
            parts[split].append(Row(first, f"pairs.jsonl:{number}", positive=second, negative=negative))
            parts[split].append(Row(third, f"pairs.jsonl:{number}", positive=first))
    return _splits(parts, [])


def scored_splits() -> Splits:
    """Pairs of sentences: 5 where both want the same of one thing, 3 the opposite, 1 the same of another, 0 else."""
    parts: dict[str, list[Row]] = {"train": [], "dev": [], "test": []}
    for number, (first, verb) in enumerate((thing, verb) for thing in THINGS for verb in ("switch on", "stop")):
        same, opposite = ("start", "turn off") if verb == "switch on" else ("turn off", "start")
        other = THINGS[(number // 2 + 3) % len(THINGS)]
        others = {f"{same} the {first}": 5, f"{opposite} the {first}": 3, f"{same} the {other}": 1}
        split = {1: "dev", 2: "test"}.get(number % 4, "train")
        for score, text in enumerate([*others, f"{opposite} the {other}"]):
            scored = float(others.get(text, 0))
            parts[split].append(Row(f"{verb} the {first}", f"scored:{number}.{score}", positive=text, score=scored))
    return _splits(parts, [])


def _splits(parts: dict[str, list[Row]], labels: list[str]) -> Splits:
    counts = {name: Counts(len(rows), len(rows), 0, 0) for name, rows in parts.items()}
    return Splits(parts["train"], parts["dev"], parts["test"], labels, counts)
