"""The command line of the GPU experiments.

    python -m benchmarks.cuda                     what has no result file yet, in order
    python -m benchmarks.cuda --again NAME …      these, whether they have one or not
    python -m benchmarks.cuda --list              the experiments and the questions that they answer

Each runs in a process of its own for at most two minutes: an experiment may lose the device to its process. Results go
to benchmarks/results/cuda-<name>.json, or to the folder that --out names. Needs onnxruntime-gpu and a CUDA device;
torch and sentence-transformers are compared with where they are installed.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from app.bundle.errors import BundleError
from app.engine.session import DeviceError
from benchmarks.cuda import compare, kernels, speed
from benchmarks.cuda.bench import SECONDS, SIZES, Bench, within
from benchmarks.cuda.device import cuda_bench, describe
from benchmarks.cuda.result import CudaResult, Row, path_of, write_result
from benchmarks.machine import origin
from benchmarks.schema import RESULTS

Experiment = Callable[[Bench], Iterator[Row]]

PROCESS_SECONDS = 120.0

EXPERIMENTS: Mapping[str, tuple[str, Experiment]] = {
    "correctness": ("In which kernel does attention run, and is it right?", kernels.correctness),
    "graphs": ("Can packed graphs be captured and replayed, and what does that cost?", kernels.graphs),
    **{
        f"throughput-{name}": (f"How fast is {name}, by length and tokens a run?", partial(speed.throughput, name=name))
        for name in SIZES
    },
    "latency": ("How long does one text take?", speed.latency),
    "parts": ("What do pooling, embedding and the whole last layer cost?", speed.parts),
    "long-batches": ("Which attention kernel is best for equal long texts?", compare.long_batches),
    "two-sessions": ("Are two sessions on one device faster than one?", kernels.two_sessions),
    "packed-against-padded": ("What is packing worth on real texts?", compare.packed_against_padded),
}


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0 all there, 1 not, with one line on standard error."""
    arguments = _parser().parse_args(argv)
    if arguments.list:
        for name, (question, _) in EXPERIMENTS.items():
            print(f"{name:22} {question}")
        return 0
    try:
        if arguments.only is not None:
            return _measure(arguments.only, arguments)
        describe()  # refuses here, once, where there is no device
        return _measure_all(arguments)
    except (BundleError, DeviceError) as error:
        print(f"benchmarks.cuda: {error}", file=sys.stderr)
        return 1


def _measure_all(arguments: argparse.Namespace) -> int:
    failed = []
    for name in arguments.again or EXPERIMENTS:
        path = path_of(arguments.out, name)
        if path.exists() and not arguments.again:
            print(f"{name}: {path} is there", flush=True)
            continue
        command = [sys.executable, "-m", "benchmarks.cuda", "--only", name]
        places = ["--out", str(arguments.out), "--models", str(arguments.models)]
        try:
            code = subprocess.run([*command, *places], timeout=PROCESS_SECONDS, check=False).returncode
        except subprocess.TimeoutExpired:
            print(f"benchmarks.cuda: {name} took over {PROCESS_SECONDS:.0f} s", file=sys.stderr)
            code = 1
        if code:
            failed.append(name)
    if failed:
        print(f"benchmarks.cuda: no result from {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _measure(name: str, arguments: argparse.Namespace) -> int:
    gpu = describe()
    result = run_experiment(name, cuda_bench(gpu, arguments.models))
    document = CudaResult(
        experiment=name,
        question=EXPERIMENTS[name][0],
        origin=origin(["cuda", "--only", name]),
        gpu=gpu,
        seconds=result[0],
        cut_short=result[0] >= SECONDS,
        rows=result[1],
    )
    print(f"written: {write_result(document, arguments.out)}", flush=True)
    return 0


def run_experiment(name: str, bench: Bench) -> tuple[float, list[Row]]:
    """The seconds and the rows of one experiment; each row is printed when it is there."""
    started = time.perf_counter()
    rows = []
    for row in within(SECONDS, EXPERIMENTS[name][1](bench)):
        rows.append(row)
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return round(time.perf_counter() - started, 1), rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda", description="Measure packed graphs on a GPU.")
    parser.add_argument("--again", nargs="+", choices=EXPERIMENTS, metavar="NAME", help="measure these once more")
    parser.add_argument("--only", choices=EXPERIMENTS, help=argparse.SUPPRESS)  # one experiment in this very process
    parser.add_argument("--list", action="store_true", help="name the experiments")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result files")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder that holds store/")
    return parser


if __name__ == "__main__":
    sys.exit(main())
