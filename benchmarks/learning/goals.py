"""What is to be reached, by which recipes and with how many seeds?

Published figures are those of the papers named, on their own splits and models; `plain` ones are of this data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.machine import ROOT

RECIPES = ROOT / "models" / "recipes" / "bench"
FIVE, THREE = range(1, 6), range(1, 4)


@dataclass(frozen=True, slots=True)
class Training:
    """A recipe, and what is set beside it; `{seed}` in a value is the seed of the run.

    `then`: a recipe of other pairs, among whose test rows the trained vectors, and those of its encoder before, look
    for the right one: `then.recall_at_1` and `before.recall_at_1` of the figures.
    """

    name: str
    recipe: Path
    overrides: Sequence[str] = ()
    then: Path | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A figure of a training: `path` in its metrics, divided by that at `over` or less that at `less`.

    `least` or `most` is the target; with neither, the figure is reported for comparison.
    """

    figure: str
    training: str
    path: str
    least: float | None = None
    most: float | None = None
    over: str | None = None
    less: str | None = None
    published: str = ""


@dataclass(frozen=True, slots=True)
class Goal:
    """One row of the table in docs/quality.md: `name` is its result file's. `paired`: A and B of the paired test;
    `coverage`: of conformal sets over re-splits.
    """

    number: int
    name: str
    title: str
    trainings: Sequence[Training]
    wanted: Sequence[Wanted]
    seeds: Sequence[int] = THREE
    paired: tuple[str, str] | None = None
    coverage: float | None = None


def _bench(name: str, *overrides: str, recipe: str = "") -> Training:
    return Training(name, RECIPES / f"{recipe or name}.toml", overrides)


PLAIN = _bench("banking77-plain")
CLINC, TREC, SST2 = _bench("clinc150"), _bench("trec"), _bench("sst2")


def _ece(training: str) -> list[Wanted]:
    return [
        Wanted(f"{training}: ECE after calibration", training, "ece_after", most=0.03),
        Wanted(f"{training}: ECE after, of that before", training, "ece_after", most=0.7, over="ece_before"),
    ]


def _scratch(data: str, kind: str, least: float) -> Wanted:
    return Wanted(f"{data}, {kind}: accuracy", f"{data}-{kind}", "accuracy", least=least)


def _linear(data: str) -> Wanted:
    path = "baselines.tfidf_svm.accuracy"
    return Wanted(f"{data}, tf-idf and a linear SVM: accuracy", f"{data}-transformer", path)


SCRATCH = (("snips7", 0.97), ("banking77", 0.80), ("thucnews", 0.84))
KINDS = ("transformer", "lstm", "gru")
GOALS = (
    Goal(
        1,
        "banking77",
        "banking77, all rows, all-MiniLM-L6-v2",
        [_bench("banking77"), PLAIN],
        [
            Wanted(
                "accuracy",
                "banking77",
                "accuracy",
                least=0.94,
                published="BERT-tuned 93.66, USE+ConveRT 93.36 (Casanueva et al. 2020)",
            ),
            Wanted("accuracy of plain cross-entropy", "banking77-plain", "accuracy"),
        ],
        seeds=FIVE,
        paired=("banking77-plain", "banking77"),
    ),
    Goal(
        2,
        "banking77-10shot",
        "banking77, ten rows of each intent and no others",
        [_bench("banking77-10shot", "data.draw_seed={seed}")],
        [
            Wanted(
                "accuracy",
                "banking77-10shot",
                "accuracy",
                least=0.85,
                published="CPFT 87.20 (RoBERTa-base, arXiv:2109.06349), IntentBERT 83.94",
            )
        ],
        seeds=FIVE,
    ),
    Goal(
        3,
        "clinc150",
        "clinc150, with rows of no label",
        [CLINC],
        [
            Wanted("accuracy in scope", "clinc150", "accuracy", least=0.965),
            Wanted("AUROC of out of scope", "clinc150", "out_of_scope.auroc", least=0.96),
            Wanted("recall of out of scope at 5 % false alarms on dev", "clinc150", "out_of_scope.recall"),
        ],
    ),
    Goal(
        4,
        "goemotions",
        "goemotions, 28 labels, several a row",
        [_bench("goemotions")],
        [
            Wanted("macro-F1", "goemotions", "macro_f1", least=0.48, published="BERT-base 46 (Demszky et al. 2020)"),
            Wanted(
                "macro-F1, of that with 0.5 for every label",
                "goemotions",
                "macro_f1",
                least=1.1,
                over="at_half.macro_f1",
            ),
        ],
    ),
    Goal(
        5,
        "sentences",
        "trec; sst2, whole sentences",
        [TREC, SST2],
        [
            Wanted("trec: accuracy", "trec", "accuracy", least=0.965, published="ULMFiT 96.4"),
            Wanted(
                "sst2: accuracy", "sst2", "accuracy", least=0.88, published="DistilBERT 91.3 on dev, with phrases too"
            ),
        ],
    ),
    Goal(
        6,
        "similarity",
        "stsb_open, without the train rows that share a sentence with test",
        [replace(_bench("stsb"), then=RECIPES / "tatoeba16.toml")],
        [
            Wanted(
                "Spearman, more than of the untrained encoder",
                "stsb",
                "spearman",
                least=0.02,
                less="baselines.encoder_before_training.spearman",
            ),
            Wanted("Spearman", "stsb", "spearman"),
            Wanted(
                "tatoeba16 recall at 1 afterwards, more than of the untrained encoder",
                "stsb",
                "then.recall_at_1",
                least=-0.005,
                less="before.recall_at_1",
            ),
        ],
    ),
    Goal(
        7,
        "calibration",
        "calibration and conformal sets",
        [PLAIN, CLINC, SST2],
        [wanted for training in (PLAIN, CLINC, SST2) for wanted in _ece(training.name)],
        coverage=0.95,
    ),
    Goal(
        8,
        "from-scratch",
        "fresh weights and a tokenizer of the training texts",
        [
            training
            for data, _ in SCRATCH
            for training in (
                _bench(f"{data}-transformer"),
                _bench(f"{data}-lstm"),
                _bench(f"{data}-gru", 'encoder.kind="gru"', recipe=f"{data}-lstm"),
            )
        ]
        + [_bench("digits-mlp"), _bench("digits-lstm")],
        [
            wanted
            for data, least in SCRATCH
            for wanted in (*(_scratch(data, kind, least) for kind in KINDS), _linear(data))
        ]
        + [
            _scratch("digits", "mlp", 0.975),
            _scratch("digits", "lstm", 0.97),
            Wanted("digits, a linear SVM: accuracy", "digits-mlp", "baselines.linear_svm.accuracy"),
        ],
    ),
    Goal(
        9,
        "matryoshka",
        "tatoeba16 retrieval by a quarter of the numbers",
        [_bench("tatoeba16")],
        [
            Wanted("MRR of 96 numbers, of that of 384", "tatoeba16", "cuts.96.mrr", least=0.97, over="mrr"),
            Wanted("MRR of 384 numbers", "tatoeba16", "mrr"),
        ],
    ),
)
