"""Figures of training: finished runs are kept, stopped ones go on, the page says what the result files say."""

import json
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

from benchmarks.learning import report
from benchmarks.learning import work as work_module
from benchmarks.learning.__main__ import main, write
from benchmarks.learning.goals import GOALS, Goal, Training, Wanted
from benchmarks.learning.measure import measure, of_seeds, reached, summary
from benchmarks.learning.resplit import cover_again
from benchmarks.learning.schema import Coverage, Learning, Paired, Reached, Run, Value
from benchmarks.learning.work import Job, figures, finished, here, run
from benchmarks.learning.work import predictions as predictions_of
from benchmarks.processes import below
from benchmarks.schema import RESULTS
from tests.training.tiny import bert_config, intent_splits, pair_splits, wordpiece
from training.data.rows import Row
from training.evaluation.retrieval import judge_retrieval
from training.modeling import Model, load_encoder
from training.progress import Progress
from training.recipe import load_recipe
from training.run import load_data

FILES = sorted(RESULTS.glob("learning-*.json"))
COMMAND = ["tiny"]


def a_run(training: str = "tiny", seed: int = 1, **values: float) -> Run:
    return Run(
        training=training,
        seed=seed,
        digest="d",
        origin=here(COMMAND),
        rows={"train": 3, "dev": 2, "test": 2},
        best_epoch=2,
        seconds=90.0,
        processes=1,
        figures={name.replace("__", "."): Value(value=value, interval=None) for name, value in values.items()},
    )


def a_goal(recipe: Path, **changes: object) -> Goal:
    settings: dict[str, object] = {
        "number": 1,
        "name": "tiny",
        "title": "tiny sentences",
        "trainings": [Training("tiny", recipe)],
        "wanted": [Wanted("accuracy", "tiny", "accuracy", least=0.5)],
        "seeds": [1],
    }
    return Goal(**{**settings, **changes})  # type: ignore[arg-type]  # the values are those of a goal


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One over files and an encoder of two layers; it learns for seconds."""
    folder = tmp_path_factory.mktemp("tiny-recipe")
    torch.manual_seed(0)
    BertModel(bert_config()).save_pretrained(folder / "encoder")
    wordpiece().save(str(folder / "encoder" / "tokenizer.json"))
    splits = intent_splits()
    for name in ("train", "dev", "test"):
        lines = [json.dumps({"text": row.text, "label": row.label}) for row in getattr(splits, name)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    (folder / "tiny.toml").write_text(
        f"""
        name = "tiny"
        threads = 1
        encoder = {{ source = "{folder / "encoder"}" }}
        head = {{ task = "classify" }}
        data = {{ source = "files", train = "train.jsonl", dev = "dev.jsonl", test = "test.jsonl" }}
        loss = {{ name = "cross_entropy" }}
        optim = {{ lr = 3e-3, head_lr_scale = 5.0 }}
        budget = {{ epochs = 3, batch_size = 4 }}
        """
    )
    for name in ("train", "dev", "test"):
        rows = getattr(pair_splits(), name) if name == "dev" else pair_splits().train
        lines = [json.dumps({"text": f"{row.text} {name}", "positive": f"{row.positive} {name}"}) for row in rows]
        (folder / f"{name}-pairs.jsonl").write_text("\n".join(lines))
    (folder / "pairs.toml").write_text(
        f"""
        name = "pairs"
        encoder = {{ source = "{folder / "encoder"}" }}
        head = {{ task = "embed" }}
        data = {{ source = "files", train = "train-pairs.jsonl", dev = "dev-pairs.jsonl", test = "test-pairs.jsonl" }}
        loss = {{ name = "in_batch_negatives" }}
        """
    )
    return folder / "tiny.toml"


def recall_of_the_encoder(recipe: Path) -> float:
    """At 1, of the untrained encoder, as training judges an embedder."""
    pairs = load_recipe(recipe.with_name("pairs.toml"))
    loaded = load_encoder(pairs.encoder)
    rows = load_data(pairs, recipe.parent, Progress()).test
    recall = judge_retrieval(Model(loaded.encoder, {}).eval(), loaded, rows, [])["recall_at_1"]
    assert isinstance(recall, float)
    return recall


@pytest.mark.long
def test_a_finished_run_is_kept_and_not_run_again(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training("tiny", recipe, then=recipe.with_name("pairs.toml"))
    goal, work, said = a_goal(recipe, trainings=[training]), tmp_path / "work", list[str]()
    kept: list[Learning] = []

    is_whole = measure(goal, [1], work, COMMAND, said.append, kept.append)
    monkeypatch.setattr("benchmarks.learning.work._train", None)  # nothing may start
    again = measure(goal, [1], work, COMMAND, said.append, kept.append)

    (first, second), folder = kept, work / "tiny" / "1"
    assert (is_whole, again) == (True, True)
    assert (first.runs, first.reached) == (second.runs, second.reached)
    assert first.reached[0].mean == first.runs[0].figures["accuracy"].value
    assert first.reached[0].interval == first.runs[0].figures["accuracy"].interval
    assert first.runs[0].rows == {"train": 24, "dev": 12, "test": 12}
    assert not (folder / "models").exists()
    with np.load(folder / "test.npz") as arrays:
        assert arrays["test_logits"].shape == (12, 2)
        hits = arrays["test_logits"].argmax(axis=1) == arrays["test_targets"]
    before = first.runs[0].figures["before.recall_at_1"].value
    assert before != first.runs[0].figures["then.recall_at_1"].value
    assert before == recall_of_the_encoder(recipe)
    assert hits.mean() == first.runs[0].figures["accuracy"].value
    assert not any(row.text in first.model_dump_json() for row in intent_splits().test)


@pytest.mark.long
def test_a_killed_run_goes_on_and_comes_to_the_same(recipe: Path, tmp_path: Path) -> None:
    training = Training("tiny", recipe, ["budget.epochs=20"])
    killed, whole = Job(training, 1, tmp_path / "killed"), Job(training, 1, tmp_path / "whole")
    faults: list[str] = []

    def start() -> None:
        try:
            run(killed, COMMAND)
        except ValueError as fault:
            faults.append(str(fault))

    thread = threading.Thread(target=start)
    thread.start()
    deadline_s = time.monotonic() + 100
    while not list((killed.folder / "models" / "runs" / "tiny").glob("step-*")) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    os.kill(next(pid for pid in below(os.getpid()) if _trains(pid)), signal.SIGKILL)
    thread.join()
    assert finished(killed) is None

    resumed, straight = run(killed, COMMAND), run(whole, COMMAND)

    assert faults and "exit code -9" in faults[0]
    assert "going on from" in (killed.folder / "log").read_text()
    assert (resumed.processes, straight.processes) == (2, 1)
    assert resumed.figures == straight.figures
    assert finished(killed) == resumed


def _trains(pid: int) -> bool:
    return "training" in Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def test_what_is_kept_of_a_run_without_dev_rows_is_of_test_alone() -> None:
    splits = intent_splits()

    def logits(rows: Sequence[Row]) -> np.ndarray:
        assert rows, "no graph runs on nothing"
        return np.zeros((len(rows), len(splits.labels)), np.float32)

    kept = predictions_of(replace(splits, dev=[]), splits.labels, logits)

    assert set(kept) == {"test_logits", "test_targets"}
    assert [splits.labels[number] for number in kept["test_targets"]] == [row.label for row in splits.test]


def test_other_settings_are_another_run(recipe: Path, tmp_path: Path) -> None:
    job = Job(Training("tiny", recipe), 1, tmp_path)
    other = Job(Training("tiny", recipe, ["budget.epochs=4"]), 1, tmp_path)
    job.folder.mkdir(parents=True)
    done = a_run(accuracy=1.0).model_copy(update={"digest": job.digest})
    (job.folder / "run.json").write_text(done.model_dump_json())

    assert finished(job) == done
    assert finished(other) is None


def test_a_seed_stands_where_the_recipe_wants_it(recipe: Path, tmp_path: Path) -> None:
    job = Job(Training("tiny", recipe, ["data.draw_seed={seed}"]), 3, tmp_path)

    assert job.overrides[0] == "seed=3"
    assert job.overrides[-1] == "data.draw_seed=3"


def test_a_run_that_fails_keeps_no_other_from_running(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_first(job: Job, command: Sequence[str]) -> Run:
        if job.seed == 1:
            raise ValueError("tiny, seed 1: exit code 1: the data have faults")
        return a_run(seed=job.seed, accuracy=0.75)

    monkeypatch.setattr("benchmarks.learning.measure.run", fail_first)
    said, kept = list[str](), list[Learning]()

    is_whole = measure(a_goal(recipe), [1, 2], tmp_path, COMMAND, said.append, kept.append)

    assert not is_whole
    assert "tiny, seed 1: exit code 1: the data have faults" in said
    assert [(one.seeds, one.mean) for one in kept[-1].reached] == [(1, 0.75)]


def test_a_recipe_that_is_not_there_is_said(tmp_path: Path) -> None:
    said = list[str]()

    assert not measure(a_goal(tmp_path / "none.toml"), [1], tmp_path, COMMAND, said.append, print)
    assert said == ["tiny: none.toml does not exist"]


def test_figures_have_paths_and_intervals_and_no_large_tables() -> None:
    metrics = {
        "accuracy": 0.5,
        "intervals": {"accuracy": [0.4, 0.6]},
        "conformal": {"0.95": {"held": 0.9}},
        "per_class": {"a": {"f1": 1.0}},
        "chosen_by": "dev accuracy",
        "cuts": {"96": {"mrr": 0.25}},
    }

    assert figures(metrics) == {
        "accuracy": Value(value=0.5, interval=(0.4, 0.6)),
        "conformal.0.95.held": Value(value=0.9, interval=None),
        "cuts.96.mrr": Value(value=0.25, interval=None),
    }


def test_a_figure_may_be_a_ratio_or_a_difference_by_seed() -> None:
    runs = [a_run(seed=1, cut=0.4, mrr=0.5), a_run(seed=2, cut=0.5, mrr=0.5)]

    ratio = reached(Wanted("ratio", "tiny", "cut", over="mrr"), runs)
    difference = reached(Wanted("difference", "tiny", "cut", less="mrr"), runs)

    assert ratio is not None and difference is not None
    assert ratio.mean == pytest.approx(0.9)
    assert difference.mean == pytest.approx(-0.05)
    assert reached(Wanted("none", "other", "cut"), runs) is None


def test_the_interval_over_seeds_is_student_s() -> None:
    low, high = of_seeds(np.array([0.1, 0.2, 0.3]))

    assert (low + high) / 2 == pytest.approx(0.2)
    assert (high - low) / 2 == pytest.approx(4.30265 * 0.1 / 3**0.5, rel=1e-5)  # t of 2 degrees of freedom


def test_two_trainings_are_paired_row_by_row_over_their_common_seeds(recipe: Path, tmp_path: Path) -> None:
    trainings = [Training("a", recipe), Training("b", recipe)]
    right_N = np.arange(200) % 2
    for name, wrong in (("a", 40), ("b", 10)):
        for seed in (1, 2):
            logits_NC = np.eye(2, dtype=np.float32)[np.where(np.arange(200) < wrong, 1 - right_N, right_N)]
            folder = tmp_path / name / str(seed)
            folder.mkdir(parents=True)
            np.savez(folder / "test.npz", test_logits=logits_NC, test_targets=right_N)
    goal = a_goal(recipe, trainings=trainings, wanted=[], paired=("a", "b"))
    runs = [a_run("a", 1), a_run("a", 2), a_run("b", 1), a_run("b", 2), a_run("b", 3)]

    found = summary(goal, runs, tmp_path, COMMAND).paired

    assert found is not None
    assert (found.seeds, found.rows) == (2, 200)
    assert found.by == pytest.approx(0.15)
    assert found.p < 0.001
    assert 0 < found.interval[0] < 0.15 < found.interval[1]


def predictions(rows: int, *, sharp: float) -> dict[str, np.ndarray]:
    """Logits of a model that is right more often the higher `sharp` is, in two parts of `rows`."""
    chance = np.random.default_rng(3)
    found: dict[str, np.ndarray] = {}
    for part in ("dev", "test"):
        targets_N = chance.integers(0, 5, rows)
        logits_NC = chance.normal(size=(rows, 5)).astype(np.float32)
        logits_NC[np.arange(rows), targets_N] += sharp
        found |= {f"{part}_logits": logits_NC, f"{part}_targets": targets_N}
    return found


def test_sets_over_re_splits_hold_the_label_as_often_as_they_promise() -> None:
    found = cover_again("tiny", 1, predictions(300, sharp=1.5), 0.9)

    assert found.expected == pytest.approx(271 / 301)
    assert abs(found.held - found.expected) <= found.two_errors
    assert found.held <= found.served
    assert 0 < found.two_errors < 0.01


def test_sets_that_were_made_for_another_coverage_are_seen() -> None:
    found = cover_again("tiny", 1, predictions(300, sharp=1.5), 0.9)
    other = cover_again("tiny", 1, predictions(300, sharp=1.5), 0.88)

    assert abs(other.held - found.expected) > found.two_errors


def test_too_few_rows_for_a_coverage_are_refused() -> None:
    with pytest.raises(ValueError, match="15 dev rows are too few for sets of 95%"):
        cover_again("tiny", 1, predictions(15, sharp=1.5), 0.95)


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_result_file_keeps_its_schema(path: Path) -> None:
    result = Learning.model_validate_json(path.read_bytes())

    assert path.stem == f"learning-{result.goal}"
    assert result.goal in {goal.name for goal in GOALS}


def test_the_page_is_made_from_the_result_files() -> None:
    written = report.DOCUMENT.read_text(encoding="utf-8")

    assert written == report.document(), "run `python -m benchmarks docs`"


def test_what_is_not_measured_says_so(tmp_path: Path) -> None:
    page = report.document(tmp_path)

    rows = [line for line in page.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert len(rows) >= len(GOALS)
    assert all("| not measured | – |" in row for row in rows)


def test_the_page_shows_what_was_reached_and_what_was_missed(tmp_path: Path) -> None:
    goal = next(goal for goal in GOALS if goal.paired)
    a, b = goal.paired or ("", "")
    result = Learning(
        goal=goal.name,
        origin=here(COMMAND),
        runs=[a_run(b, 1, accuracy=0.9375)],
        reached=[Reached(figure="accuracy", training=b, seeds=5, mean=0.9375, interval=(0.93, 0.945))],
        paired=Paired(a=a, b=b, seeds=5, rows=3080, by=0.0051, interval=(0.001, 0.009), p=0.012),
        coverage=[],
    )
    write(result, tmp_path)

    page = report.document(tmp_path)

    assert "| ≥ 94.00 | 93.75 [93.00, 94.50], **missed** | 5 |" in page
    assert "| > 0, p < 0.05 | +0.51 [0.10, 0.90], p = 0.012 | 5 |" in page
    assert f"| {b} | 1 | 2 | 2 | 1.5 | accuracy 93.75 |" in page


def test_coverage_counts_the_runs_within_their_error(tmp_path: Path) -> None:
    goal = next(goal for goal in GOALS if goal.coverage)
    name = goal.trainings[0].name
    shared = {
        "training": name,
        "wanted": 0.95,
        "splits": 100,
        "fitted_on": 1002,
        "judged_on": 3080,
        "expected": 0.9502,
        "served": 0.96,
        "labels": 1.1,
        "two_errors": 0.0016,
    }
    coverage = [
        Coverage.model_validate({**shared, "seed": seed, "held": held}) for seed, held in ((1, 0.951), (2, 0.953))
    ]
    write(Learning(goal=goal.name, origin=here(COMMAND), runs=[], reached=[], coverage=coverage), tmp_path)

    assert "| all | 1 of 2 runs, **missed** | 2 |" in report.document(tmp_path)


def test_a_goal_that_is_not_known_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENCODERY_DATA", "x")

    with pytest.raises(SystemExit) as stopped:
        main(["bankin77"])

    assert stopped.value.code == 2
    assert "no goal is called bankin77; there are banking77, " in capsys.readouterr().err


def test_the_variable_of_the_data_is_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ENCODERY_DATA", raising=False)

    with pytest.raises(SystemExit):
        main([])

    assert "ENCODERY_DATA is not set" in capsys.readouterr().err


def test_a_result_says_no_folder_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCODERY_DATA", "/somewhere")

    assert "/somewhere" not in a_run().model_dump_json()
    assert work_module.here(["trec"]).command == "python -m benchmarks.learning trec"
