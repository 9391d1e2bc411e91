"""The command line of training.

python -m training train RECIPE [--set table.key=value]… [--resume]   data → bundle
python -m training import FOLDER|ID|package:NAME [--name N]           a trained model as it is → bundle
python -m training build FOLDER                                       a bundle for each recipe that has none yet
python -m training find-lr RECIPE [--set table.key=value]…            a learning rate to begin with, and its picture
python -m training mine RECIPE --out FOLDER                           its pairs with hard negatives → data to train on
python -m training sweep RECIPE RANGES [--set table.key=value]…       the settings that are best on dev
python -m training export RECIPE                                      the best weights of a finished run → bundle
python -m training evaluate RECIPE                                    the current bundle on its recipe's test rows
python -m training compare RECIPE A B                                 is bundle B better than A on those rows?
python -m training validate RECIPE|DATA [--report FOLDER]             check the data, report, train nothing

A recipe is a TOML file, or the name of one in models/recipes. Progress goes to standard error, results to standard
output. Exit code: 0 done, 1 refused or failed with the reason on standard error, 2 wrong usage, 130 interrupted, 143
terminated. A run that is told to end while it trains writes a checkpoint first, and `--resume` goes on from it.

torchrun --nproc-per-node N -m training train RECIPE trains in N processes (training/parallel/).
"""

import argparse
import os
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.progress import Progress

# Before the libraries are loaded, which read these once. They say much that is of no use here.
ENVIRONMENT = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # Threads of torch that wait give their core away. Spinning, the default, makes training three times slower as soon
    # as anything else runs (10 against 32 rows/s on two busy cores), and loses nothing on a machine of its own.
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}
RECIPES = Path("models/recipes")
ROLES = ("text", "label", "value", "positive", "negative", "score")  # as in a recipe's data.columns
# Those of app.bundle.manifest.PoolingMode, which is not loaded for --help.
POOLINGS = ("mean", "cls", "max", "lasttoken", "mean_sqrt_len_tokens", "weightedmean")
INTERRUPTED, TERMINATED = 130, 143  # 128 + the signal, as shells count


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    from app.bundle.errors import BundleError
    from training.errors import StoppedError, TrainingError
    from training.signals import Terminated, sigterm_as_interrupt

    try:
        with sigterm_as_interrupt(), _processes(arguments.command):
            _run(arguments)
    except StoppedError as error:
        return _fail(str(error), error.exit_code)
    except (TrainingError, BundleError) as error:
        return _fail(str(error), 1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}", 1)
    except Terminated:
        return _fail("terminated", TERMINATED)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    return 0


def _processes(command: str) -> AbstractContextManager[None]:
    """All processes of the run, if torchrun started several."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return nullcontext()
    from training.errors import TrainingError
    from training.parallel import joined

    if command != "train":
        raise TrainingError(f"torchrun is for `train`; run `python -m training {command}` without it")
    return joined()


def _fail(message: str, code: int) -> int:
    """`code`, after `message` was said; of several processes that say the same, one says it."""
    if "training.parallel" in sys.modules:
        from training.parallel import may_say

        if not may_say(message):
            return code
    print(f"encodery: {message}", file=sys.stderr)
    return code


def _run(arguments: argparse.Namespace) -> None:
    """Each command imports what it needs: torch and its kin take seconds, `--help` and `build` must not."""
    from rich.console import Console

    from training.progress import Progress

    progress = Progress(Console(quiet=True)) if int(os.environ.get("RANK", "0")) else Progress()
    match arguments.command:
        case "build":
            from training.build import build

            build(arguments.folder, models=arguments.models, progress=progress)
        case "validate":
            _validate(arguments, progress)
        case "find-lr":
            from training.find_lr import find_lr

            path, models = _recipe_path(arguments.recipe), arguments.models
            found, picture = find_lr(path, models=models, progress=progress, overrides=arguments.set)
            progress.say(f"the picture is {picture}")
            print(found)
        case "mine":
            print(_mine(arguments, progress))
        case "sweep":
            from training.sweep.study import sweep

            path, models = _recipe_path(arguments.recipe), arguments.models
            print(sweep(path, arguments.ranges, models=models, progress=progress, overrides=arguments.set))
        case "evaluate":
            from training.judge import evaluate

            print(evaluate(_recipe_path(arguments.recipe), models=arguments.models, progress=progress))
        case "compare":
            from training.compare import compare

            path = _recipe_path(arguments.recipe)
            print(compare(path, arguments.first, arguments.second, models=arguments.models, progress=progress))
        case _:
            print(_make(arguments, progress))


def _make(arguments: argparse.Namespace, progress: "Progress") -> Path:
    """The folder of the new bundle."""
    from training.run import export, import_encoder, train

    models = arguments.models
    if arguments.command == "import":
        more = {"name": arguments.name, "pooling": arguments.pooling, "vector": arguments.vector}
        return import_encoder(arguments.source, models=models, progress=progress, **more)
    path, overrides = _recipe_path(arguments.recipe), arguments.set
    if arguments.command == "export":
        return export(path, models=models, progress=progress, overrides=overrides)
    return train(path, models=models, progress=progress, overrides=overrides, resume=arguments.resume)


def _mine(arguments: argparse.Namespace, progress: "Progress") -> str:
    """What was found and where it lies."""
    from training.data.hard_negatives import Search
    from training.mine import mine_recipe

    absolute, share = arguments.absolute_margin, arguments.relative_margin
    found = mine_recipe(
        _recipe_path(arguments.recipe),
        arguments.out,
        progress=progress,
        overrides=arguments.set,
        corpus=arguments.corpus,
        search=Search(arguments.per_row, share if absolute is None else absolute, absolute=absolute is not None),
    )
    return str(found)


def _validate(arguments: argparse.Namespace, progress: "Progress") -> None:
    """Lines on a data file are a result; on the data of a recipe, like in training, they are progress."""
    from training.errors import DataError
    from training.validate import validate_file, validate_recipe, write_faults

    path = _recipe_path(arguments.what)
    try:
        if path.suffix == ".toml":
            print(validate_recipe(path, report=arguments.report, progress=progress))
        else:
            columns = dict(arguments.column)
            lines = validate_file(
                path,
                task=arguments.task,
                columns=columns,
                label_separator=arguments.label_separator,
                report=arguments.report,
            )
            print("\n".join(lines))
    except DataError as error:
        if arguments.report is not None and error.problems:
            progress.say(f"all faults: {write_faults(error, arguments.report)}")
        raise


def _recipe_path(text: str) -> Path:
    """A file, or the name of a recipe in models/recipes."""
    named = RECIPES / f"{text}.toml"
    return named if not Path(text).exists() and named.is_file() else Path(text)


def _column(text: str) -> tuple[str, str]:
    role, equals, column = text.partition("=")
    if role not in ROLES or not equals or not column:
        raise argparse.ArgumentTypeError(f"{text!r} is not ROLE=NAME with a role of {', '.join(ROLES)}")
    return role, column


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description="Turn data into bundles.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--models",
        type=Path,
        default=Path(os.environ.get("ENCODERY_MODELS_DIR", "models")),
        metavar="DIR",
        help="where store/ and runs/ are; default: $ENCODERY_MODELS_DIR, else models",
    )
    changed = argparse.ArgumentParser(add_help=False)
    changed.add_argument("recipe", help="a TOML file, or the name of one in models/recipes")
    changed.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one value; repeatable")

    train = commands.add_parser("train", parents=[common, changed], help="make a bundle from a recipe")
    train.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    commands.add_parser("find-lr", parents=[common, changed], help="find a learning rate; keeps nothing but a picture")
    _add_mine(commands.add_parser("mine", parents=[changed], help="find hard negatives for the pairs of a recipe"))
    sweeping = commands.add_parser("sweep", parents=[common, changed], help="try settings, each on the dev rows")
    sweeping.add_argument("ranges", type=Path, help="a TOML file with the values to try; models/recipes/README.md")
    commands.add_parser("export", parents=[common, changed], help="make a bundle from a finished run")
    importing = commands.add_parser("import", parents=[common], help="make a bundle from a trained model as it is")
    importing.add_argument("source", help="a folder, a hub id, package:NAME, or an ONNX file")
    importing.add_argument("--name", help="the bundle's name; default: the source's last part")
    importing.add_argument(
        "--pooling", choices=POOLINGS, help="how states of tokens become the vector; default: as said"
    )
    importing.add_argument("--vector", metavar="OUTPUT", help="ONNX files only: the output that is the vector")
    building = commands.add_parser("build", parents=[common], help="make the bundles that are missing")
    building.add_argument("folder", type=Path, help="where the recipes are")
    evaluating = commands.add_parser("evaluate", parents=[common], help="judge a bundle on its recipe's test rows")
    evaluating.add_argument("recipe", help="a TOML file, or the name of one in models/recipes")
    comparing = commands.add_parser("compare", parents=[common], help="tell whether one bundle is better than another")
    comparing.add_argument("recipe", help="whose test rows they are judged on")
    comparing.add_argument("first", metavar="A", help="a bundle: NAME or NAME@VERSION")
    comparing.add_argument("second", metavar="B", help="another")
    validating = commands.add_parser("validate", parents=[common], help="check a recipe and its data, or a data file")
    validating.add_argument("what", help="a recipe, the name of one in models/recipes, or a data file")
    validating.add_argument(
        "--task", choices=("classify", "multi_label", "regression", "embed"), default="classify", help="data files only"
    )
    validating.add_argument(
        "--column", type=_column, action="append", default=[], metavar="ROLE=NAME", help="data files only: text=message"
    )
    validating.add_argument("--label-separator", metavar="SIGN", help="multi_label data files only")
    validating.add_argument(
        "--report",
        type=Path,
        metavar="FOLDER",
        help="write a report with texts, and every finding or fault by line, there",
    )
    return parser


def _add_mine(mining: argparse.ArgumentParser) -> None:
    mining.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where train, dev and test go")
    mining.add_argument(
        "--per-row", type=_count, default=1, metavar="N", help="negatives of a pair at most; default: 1"
    )
    mining.add_argument("--corpus", type=Path, metavar="FILE", help="more candidates: a data file with a column text")
    margins = mining.add_mutually_exclusive_group()
    margins.add_argument(
        "--relative-margin",
        type=_margin,
        default=0.05,
        metavar="SHARE",
        help="how far under the positive's cosine a negative must be, as a share of it; default: 0.05",
    )
    margins.add_argument("--absolute-margin", type=_margin, metavar="COSINE", help="the same, in cosine")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _margin(text: str) -> float:
    try:
        margin = float(text)
    except ValueError:
        margin = -1.0
    if not 0 <= margin < 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 up to 2")
    return margin


if __name__ == "__main__":
    sys.exit(main())
