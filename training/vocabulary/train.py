"""How do texts become a tokenizer?

`wordpiece`   pieces of words and signs, greedily the longest first (Schuster & Nakajima 2012; Devlin et al. 2019,
              arXiv:1810.04805); learned by the merges of `merges.py`, as the library `tokenizers` does it, since the
              published descriptions do not say how
`bpe`         pieces of bytes in the order of their merges (Radford et al. 2019, section 2.2): nothing is unknown
`characters`  one token a character

Every text has tokens, "" too: [CLS] begins it and [SEP] ends it. A text cannot forge one: they are written by the
post-processor alone, and "[SEP]" in a text is read as the signs and letters it consists of. What stands once in all
texts gets no piece of its own but is unknown, so that a model learns what to make of [UNK].
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from training.recipe.encoder import TokenizerTable
from training.vocabulary.merges import LEAST, Word, learn_merges

PAD, UNKNOWN, CLS, SEP = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
SPECIAL = (PAD, UNKNOWN, CLS, SEP)  # in this order from id 0 on
PAD_ID = SPECIAL.index(PAD)
INSIDE = "##"  # before a WordPiece that does not begin a word
LONGEST = 100  # letters of a word, as in BERT; longer ones are learned from in parts, and unknown to WordPiece


def train_tokenizer(table: TokenizerTable, texts: Sequence[str]) -> Tokenizer:
    """A tokenizer of at most `table.size` tokens, special ones included; it neither pads nor truncates."""
    train = {"wordpiece": _wordpiece, "bpe": _bpe, "characters": _characters}[table.kind]
    tokenizer = train(table, texts)
    # Never `add_special_tokens`: that would look for their names in texts.
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        pair=f"{CLS} $A {SEP} $B:1 {SEP}:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in (CLS, SEP)],
    )
    return tokenizer


def _wordpiece(table: TokenizerTable, texts: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({}, unk_token=UNKNOWN))
    # BERT's signs and blanks; accents stay: in most languages a letter with one is another letter.
    bert = normalizers.BertNormalizer(lowercase=table.lowercase, strip_accents=False)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), bert])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = {_letters(word): count for word, count in _words(tokenizer, texts).items()}
    alphabet = _alphabet(words, table.size - len(SPECIAL))
    known = {word: count for word, count in words.items() if alphabet.issuperset(word)}
    merges = learn_merges(known, table.size - len(SPECIAL) - len(alphabet), _join_wordpieces)
    pieces = [*sorted(alphabet), *(_join_wordpieces(*pair) for pair in merges)]
    tokenizer.model = models.WordPiece(_numbered(pieces), unk_token=UNKNOWN, max_input_chars_per_word=LONGEST)
    return tokenizer


def _bpe(table: TokenizerTable, texts: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    lower = [normalizers.Lowercase()] if table.lowercase else []
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *lower])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    words = {tuple(word): count for word, count in _words(tokenizer, texts).items()}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = learn_merges(words, table.size - len(SPECIAL) - len(alphabet), str.__add__)
    pieces = [*alphabet, *("".join(pair) for pair in merges)]
    tokenizer.model = models.BPE(vocab=_numbered(pieces), merges=merges)
    return tokenizer


def _characters(table: TokenizerTable, texts: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({UNKNOWN: 0}, unk_token=UNKNOWN))
    lower = [normalizers.Lowercase()] if table.lowercase else []
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *lower])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    words: dict[Word, int] = {(character,): count for character, count in _words(tokenizer, texts).items()}
    pieces = sorted(_alphabet(words, table.size - len(SPECIAL)))
    tokenizer.model = models.WordLevel(_numbered(pieces), unk_token=UNKNOWN)
    return tokenizer


def _words(tokenizer: Tokenizer, texts: Sequence[str]) -> Counter[str]:
    """What the tokenizer looks pieces up in, and how often each stands in the texts."""
    found: Counter[str] = Counter()
    for text in texts:
        normal = tokenizer.normalizer.normalize_str(text)
        found.update(part for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal) for part in _parts(word))
    return found


def _parts(word: str) -> Iterator[str]:
    for first in range(0, len(word), LONGEST):
        yield word[first : first + LONGEST]


def _letters(word: str) -> Word:
    return (word[0], *(INSIDE + letter for letter in word[1:]))


def _join_wordpieces(first: str, second: str) -> str:
    return first + second.removeprefix(INSIDE)


def _alphabet(words: Mapping[Word, int], most: int) -> set[str]:
    """The most frequent smallest pieces, none that stands once; of equally frequent ones the first by their text."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for piece in word:
            counts[piece] += count
    frequent = sorted((-count, piece) for piece, count in counts.items() if count >= LEAST)
    return {piece for _, piece in frequent[:most]}


def _numbered(pieces: Sequence[str]) -> dict[str, int]:
    """Ids from 0 on, special tokens first; a piece that two merges give has one id."""
    return {piece: number for number, piece in enumerate(dict.fromkeys([*SPECIAL, *pieces]))}
