"""Where do the tiny bundles of the tests come from?

    python -m tests.data.make_tiny

makes `tests/data/store` again, through the same pipeline as any other bundle: a BERT of 2 layers and 32 dimensions with
a WordPiece vocabulary, imported as `tiny-encoder`, and fine-tuned to tell four things apart as `tiny-classifier`.
The seed is fixed; versions of the libraries may still change the bytes.
"""

import itertools
import json
import os
import shutil
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from training.progress import Progress
from training.run import import_encoder, train

HERE = Path(__file__).parent
SEED = 7
HIDDEN = 32
MAX_TOKENS = 64
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

ROOMS = ["kitchen", "bedroom", "living room", "hall", "bathroom", "garage", "office", "garden"]
MUSIC = [
    "jazz",
    "rock",
    "some music",
    "a song by queen",
    "my favourite album",
    "the radio",
    "piano music",
    "the beatles",
]
PLACES = ["london", "berlin", "paris", "tokyo", "madrid", "oslo", "rome", "cairo"]
DAYS = ["today", "tomorrow", "tonight", "on monday", "this weekend"]
TEMPLATES: dict[str, tuple[list[str], list[list[str]]]] = {
    "lights_on": (
        [
            "turn on the {} lights",
            "switch the lights on in the {}",
            "{} lights on please",
            "turn the light in the {} on",
            "i need some light in the {}",
            "it is too dark in the {}",
        ],
        [ROOMS],
    ),
    "lights_off": (
        [
            "turn off the {} lights",
            "switch the lights off in the {}",
            "{} lights off please",
            "turn the light in the {} off",
            "make it dark in the {}",
            "no more light in the {}",
        ],
        [ROOMS],
    ),
    "play_music": (
        ["play {}", "please play {}", "i want to hear {}", "put on {}", "can you play {} for me", "start playing {}"],
        [MUSIC],
    ),
    "weather": (
        [
            "what is the weather in {} {}",
            "will it rain in {} {}",
            "how warm is it in {} {}",
            "is it sunny in {} {}",
            "do i need an umbrella in {} {}",
        ],
        [PLACES, DAYS],
    ),
}

RECIPE = """
name = "tiny-classifier"
description = "A very small classifier for tests: lights on, lights off, music or weather."
seed = {seed}
threads = 1
baselines = true

[data]
source = "files"
train = "sentences.jsonl"
origin = "Sentences from a handful of templates in tests/data/make_tiny.py"

[encoder]
source = "tiny-bert"

[head]
task = "classify"
name = "intent"
out_of_scope = 0.5

[loss]
name = "cross_entropy"

[optim]
lr = 3e-3
head_lr_scale = 1.0

[budget]
epochs = 12
batch_size = 16
"""


def sentences() -> list[tuple[str, str]]:
    """Every sentence of every template with its label."""
    found = []
    for label, (templates, slots) in TEMPLATES.items():
        for template, values in itertools.product(templates, itertools.product(*slots)):
            found.append((template.format(*values), label))
    return found


def make_encoder(folder: Path, texts: list[str]) -> None:
    """A BERT with random weights in the layout of sentence-transformers."""
    torch.manual_seed(SEED)
    tokenizer = wordpiece(texts)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * HIDDEN,
        max_position_embeddings=MAX_TOKENS,
        initializer_range=0.2,  # the usual 0.02 gives nearly the same vector for every text
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}', encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"pad_token": "[PAD]"}', encoding="utf-8")


def wordpiece(texts: list[str]) -> Tokenizer:
    """Every word of `texts`, and the signs of ASCII at the beginning of a word and inside it.

    Counted here, not by the library's trainer: that gives its pieces other ids in every process.
    """
    signs = [chr(code) for code in range(33, 127) if not "A" <= chr(code) <= "Z"]
    words = sorted({word for text in texts for word in text.split() if len(word) > 1})
    pieces = [*SPECIAL, *signs, *(f"##{sign}" for sign in signs), *words]
    tokenizer = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", SPECIAL.index("[CLS]")), ("[SEP]", SPECIAL.index("[SEP]"))],
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def make_sources(folder: Path) -> None:
    """`tiny-bert`, `sentences.jsonl` and `tiny.toml` in `folder`."""
    rows = sentences()
    make_encoder(folder / "tiny-bert", [text for text, _label in rows])
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    (folder / "sentences.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tiny.toml").write_text(RECIPE.format(seed=SEED), encoding="utf-8")


def main() -> None:
    """Replace `tests/data/store`."""
    progress = Progress()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # sources are named in the manifest: relative to here they are the same everywhere
        make_sources(Path())
        import_encoder("tiny-bert", models=Path(), progress=progress, name="tiny-encoder")
        train(Path("tiny.toml"), models=Path(), progress=progress)
        for lock in Path("store").glob("*/.lock"):
            lock.unlink()
        shutil.rmtree(HERE / "store", ignore_errors=True)
        shutil.copytree("store", HERE / "store")


if __name__ == "__main__":
    main()
