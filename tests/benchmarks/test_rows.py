"""The table of targets: what is reached, what is missed, what is not measured."""

from pathlib import Path

import pytest

from benchmarks.bench import knee
from benchmarks.cuda.result import CudaResult, Gpu, write_result
from benchmarks.report.document import fill
from benchmarks.report.rows import ROWS, rows_table
from benchmarks.schema import (
    Beside,
    Fair,
    FairRound,
    Footprint,
    FrontEnd,
    FrontEndRound,
    Kill,
    Kills,
    Memory,
    Overload,
    Overloaded,
    Poison,
    Result,
    Sample,
    Term,
    Terms,
    write,
)
from tests.benchmarks.results import CAUGHT, ORIGIN, bench, closed, latency, load, opened


def row(number: int, results: list[Result], folder: Path) -> str:
    """One line of the table."""
    for result in results:
        write(result, folder)
    return next(line for line in rows_table(folder).splitlines() if line.startswith(f"| {number} |"))


def test_every_target_stands_in_the_table_though_nothing_is_measured(tmp_path: Path) -> None:
    lines = rows_table(tmp_path).splitlines()[2:]

    assert [line.split(" | ")[0] for line in lines] == [f"| {row.number}" for row in ROWS]
    assert all("not measured" in line for line in lines)


def test_the_share_counts_the_mean_of_both_ceilings(tmp_path: Path) -> None:
    found = row(1, [bench(closed=[closed(90, 130)])], tmp_path)

    assert "fp32 0.91; fp32 by CPU 0.90 | reached | [bench-fp32](../benchmarks/results/bench-fp32.json)" in found


def test_a_missed_target_stays_as_missed(tmp_path: Path) -> None:
    found = row(1, [bench(), bench("int8", closed=[closed(130, 130)])], tmp_path)

    assert "int8 0.77" in found
    assert "| **missed** |" in found


@pytest.mark.parametrize(
    ("number", "bad"),
    [
        (3, {"closed": [closed(110, 110, direct_ms=8.9, clients=1)]}),
        (5, {"open_loop": [opened(0.1, 12.0, direct_ms=7.9), opened(0.7, 30.0)]}),
        (5, {"open_loop": [opened(0.1, 12.0, direct_ms=10.0), opened(0.7, 36.1)]}),
        (5, {"open_loop": [opened(0.1, 12.0, direct_ms=10.0, late_ms=11.0), opened(0.7, 30.0)]}),
    ],
    ids=["lone request", "low load", "high load", "a late generator"],
)
def test_latency_targets(number: int, bad: dict[str, object], tmp_path: Path) -> None:
    assert "| reached |" in row(number, [bench()], tmp_path)
    assert "| **missed** |" in row(number, [bench("fp32", **bad)], tmp_path)


def overloaded(**changes: object) -> Overload:
    values: dict[str, object] = {
        "shed": 900,
        "asked": 1000,
        "requests_per_s": 95.0,
        "shed_latency": latency(1.0, 20.0),
        "latency": latency(1000.0, 2300.0),
    }
    figures = load(**(values | changes))
    part = Overloaded(engine="fixed", times=10, peak_per_s=100, limit_ms=2000, load=figures, counts_agree=True)
    return Overload(origin=ORIGIN, control=CAUGHT, parts=[part])


@pytest.mark.parametrize(
    "changes",
    [
        {"requests_per_s": 89.0},
        {"latency": latency(1.0, 2500.0)},
        {"shed_latency": latency(1.0, 51.0)},
        {"shed_without_retry_after": 1},
        {"shed": 899, "lost": 1},
    ],
    ids=["goodput", "accepted too late", "refused too late", "no Retry-After", "one lost"],
)
def test_overload_misses_its_target_for_each_reason(changes: dict[str, object], tmp_path: Path) -> None:
    assert "| reached |" in row(6, [overloaded()], tmp_path)
    assert "| **missed** |" in row(6, [overloaded(**changes)], tmp_path)


def kills(ready_s: float | None, **changes: object) -> Kills:
    kill = Kill(at_s=1.0, unready_s=0.1, ready_s=ready_s)
    figures = load(**changes)
    return Kills(origin=ORIGIN, control=CAUGHT, model="m", rate_per_s=50, kills=[kill], load=figures, counts_agree=True)


def test_kills_count_what_was_let_in_and_not_answered_right(tmp_path: Path) -> None:
    assert "0 of 100; 4.9 s | reached" in row(7, [kills(4.9)], tmp_path)
    assert "0 of 110; 4.9 s | reached" in row(7, [kills(4.9, asked=110, shed=10)], tmp_path)
    assert "1 of 101; 4.9 s | **missed**" in row(7, [kills(4.9, asked=101, wrong=1)], tmp_path)
    assert "5.1 s | **missed**" in row(7, [kills(5.1)], tmp_path)
    assert "not always | **missed**" in row(7, [kills(None)], tmp_path)


def test_terms_and_poison_count_every_request(tmp_path: Path) -> None:
    def terms(unanswered: int) -> Terms:
        term = Term(sent_before=64, unanswered=unanswered, wrong=0, exit_code=0, exit_s=0.5)
        return Terms(origin=ORIGIN, control=CAUGHT, model="m", clients=64, terms=[term, term])

    def poison(right: int) -> Poison:
        outcomes = {"FAILED": 100}
        return Poison(
            origin=ORIGIN,
            control=CAUGHT,
            model="m",
            rounds=100,
            others=3100,
            others_right=right,
            poisoned_failed=100,
            outcomes=outcomes,
            rows_max=32,
        )

    assert "0 of 128 | reached" in row(8, [terms(0)], tmp_path)
    assert "2 of 128 | **missed**" in row(8, [terms(1)], tmp_path)
    assert "3,100 of 3,100 | reached" in row(9, [poison(3100)], tmp_path)
    assert "3,099 of 3,100 | **missed**" in row(9, [poison(3099)], tmp_path)


def beside(greedy_open: int, p99_ms: float, **changes: object) -> Beside:
    polite = load(mode="poisson", latency=latency(p99_ms / 2, p99_ms), late_p99_ms=1.0)
    greedy = load(clients=greedy_open, **changes) if greedy_open else None
    return Beside(greedy_open=greedy_open, polite=polite, greedy=greedy)


def fairness(many_ms: list[float], **changes: object) -> Fair:
    """A polite client with a p99 of 50 ms alone and 80 ms beside 8."""
    rounds = [FairRound(alone=beside(0, 50.0), few=beside(8, 80.0), many=beside(1000, p99_ms)) for p99_ms in many_ms]
    shared = beside(1000, 5000.0, **changes)
    return Fair(
        origin=ORIGIN,
        control=CAUGHT,
        model="m",
        peak_per_s=200,
        rate_per_s=20,
        limit_ms=60_000,
        rounds=rounds,
        shared=shared,
    )


def test_fairness_is_the_median_of_its_rounds_against_an_idle_service(tmp_path: Path) -> None:
    assert "2.00×; beside 8 1.25×; 0 of 1,700 | reached" in row(13, [fairness([300.0, 100.0, 90.0])], tmp_path)
    assert "2.02×; beside 8 1.26×; 0 of 1,700 | **missed**" in row(13, [fairness([101.0] * 3)], tmp_path)
    assert "1 of 1,701 | **missed**" in row(13, [fairness([100.0] * 3, asked=101, wrong=1)], tmp_path)


def test_a_late_generator_has_not_shown_fairness(tmp_path: Path) -> None:
    found = fairness([60.0])
    late = found.rounds[0].many.polite.model_copy(update={"late_p99_ms": 11.0})
    many = found.rounds[0].many.model_copy(update={"polite": late})
    rounds = [found.rounds[0].model_copy(update={"many": many})]

    assert "| **missed** |" in row(13, [found.model_copy(update={"rounds": rounds})], tmp_path)
    assert "1.20×, generator 11 ms late" in row(13, [], tmp_path)


def test_memory_misses_when_the_planted_leak_was_not_seen(tmp_path: Path) -> None:
    part = Footprint(
        model="m",
        requests=10,
        warm_up=1,
        not_right=0,
        samples=[Sample(requests=0, mib=1.0)],
        growth=0.001,
        slope=0.0,
        slope_low=-0.1,
        has_slope=False,
    )
    seen = Memory(origin=ORIGIN, control=CAUGHT, parts=[part])
    unseen = seen.model_copy(update={"control": CAUGHT.model_copy(update={"caught": False})})

    assert "leak caught | reached" in row(10, [seen], tmp_path)
    assert "leak missed | **missed**" in row(10, [unseen], tmp_path)


def test_every_kind_of_result_has_its_page(tmp_path: Path) -> None:
    results: list[Result] = [bench(), overloaded(), kills(4.0), fairness([90.0, 110.0])]
    for result in results:
        write(result, tmp_path)

    for name, said in (
        ("bench-fp32", "0.909"),
        ("overload", "fixed, 10×"),
        ("kills", "1 kills of the engine"),
        ("fair", "**2.00 times**"),
    ):
        page = fill(f"<!-- figures: {name} -->\n<!-- end -->", tmp_path)
        assert said in page
        assert f"benchmarks/results/{name}.json" in page


def test_the_knee_is_the_last_rate_that_is_answered_whole_and_in_time() -> None:
    low, high, slow = opened(0.1, 10.0), opened(0.5, 29.0), opened(0.7, 31.0)
    shed = high.model_copy(update={"load": high.load.model_copy(update={"asked": 101, "shed": 1})})

    assert knee([low, high, slow]) == 50.0
    assert knee([low, slow, high]) == 10.0
    assert knee([low, shed, high]) == 10.0
    assert knee([]) is None


def test_rows_of_a_front_end_and_a_gpu_come_from_their_own_files(tmp_path: Path) -> None:
    each = FrontEndRound(requests=100, seconds=1.0, cpu_s=0.02, us_per_request=200.0)
    front_end = FrontEnd(
        origin=ORIGIN,
        model="m",
        clients=64,
        words=14,
        tokens_mean=20.0,
        target_per_cpu_s=4000,
        target_refusal_us=100,
        answers=[each],
        refusals=[each],
        per_cpu_s=5000.0,
        refusal_us=50.0,
    )
    assert "5,000 | reached" in row(11, [front_end], tmp_path)

    def experiment(name: str, rows: list[dict[str, str | float]]) -> None:
        gpu = Gpu(name="g", driver="d", memory_mib=1, peak_tflops=1000.0)
        result = CudaResult(
            experiment=name, question="?", origin=ORIGIN, gpu=gpu, seconds=1.0, cut_short=False, rows=rows
        )
        write_result(result, tmp_path)

    rows: list[dict[str, str | float]] = [
        {"engine": "padded fp16", "texts_per_s": 100.0, "texts_per_s_with_tokenising": 90.0, "waste": 0.5},
        {"engine": "packed fp16", "texts_per_s": 190.0, "texts_per_s_with_tokenising": 150.0, "waste": 0.03},
        {"engine": "sentence-transformers fp16", "texts_per_s_with_tokenising": 70.0},
    ]
    experiment("packed-against-padded", rows)
    assert "1.90×; 2.14×; padding 3.0% | reached" in row(12, [], tmp_path)

    experiment("throughput-base", [{"length": 128, "share_of_peak": 0.39}, {"length": 64, "share_of_peak": 0.5}])
    assert "39% of the roof | **missed**" in row(12, [], tmp_path)
