"""Several processes end where one does, and stop as one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.forks import ROOT
from tests.training.ranks import Job
from tests.training.test_loop import run
from tests.training.tiny import MakeRecipe
from training.__main__ import main
from training.checkpoint import list_checkpoints, load
from training.data.rows import Splits
from training.parallel import sharing
from training.parallel.group import Group
from training.recipe import Recipe

FIVES = {"epochs": 2, "batch_size": 5}  # of 24 rows: the last batch has 4, a share has 2 rows or 3
ALIKE: dict[str, dict[str, object]] = {
    "labels": {"budget": FIVES},
    "labels in parts": {"budget": {**FIVES, "accumulate": 2}, "loss": {"name": "focal"}},
    "a contrastive share": {"budget": FIVES, "loss": {"name": "cross_entropy", "contrastive_share": 0.5}},
    # 24 pairs, of which half have a negative: one share has more of them than the other. The last batch is one row.
    "pairs": {"task": "embed", "budget": {"epochs": 2, "batch_size": 23}},
    "pairs with cuts, in parts": {
        "task": "embed",
        "budget": FIVES,
        "head": {"task": "embed", "cuts": [8]},
        "loss": {"name": "in_batch_negatives", "cached_rows": 2},
    },
}


def calm(name: str, make_recipe: MakeRecipe, encoder: Path) -> Recipe:
    """Without dropout, and moved by SGD: AdamW takes a whole step where a gradient is nothing but rounding."""
    head = {} if "task" in ALIKE[name] else {"head": {"task": "classify", "dropout": 0.0}}
    plain = {"encoder": {"source": str(encoder)}, "optim": {"lr": 0.02, "name": "sgd"}, **head}
    return make_recipe(**{**plain, **ALIKE[name]})


def run_all(jobs: Mapping[str, Job], folder: Path) -> dict[str, list[int]]:
    """The exit codes of the ranks of each job."""
    (folder / "jobs.json").write_text(json.dumps({name: asdict(job) for name, job in jobs.items()}))
    command = [sys.executable, "-m", "tests.training.ranks", str(folder)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=240, check=True)
    codes: dict[str, list[int]] = json.loads((folder / "codes.json").read_text())
    return codes


@pytest.mark.long
def test_two_processes_end_where_one_does(
    make_recipe: MakeRecipe, calm_encoder: Path, intents: Splits, pairs: Splits, tmp_path: Path
) -> None:
    """Both in the same bits, and within 1e-5 of those of one process with the same batches."""
    recipes = {name: calm(name, make_recipe, calm_encoder) for name in ALIKE}

    codes = run_all({name: Job(recipe.model_dump_json(), name) for name, recipe in recipes.items()}, tmp_path)

    assert codes == {name: [0, 0] for name in ALIKE}
    for name, recipe in recipes.items():
        alone = run(recipe, pairs if recipe.head.task == "embed" else intents, tmp_path / f"{name} alone")
        first, second = (load_file(tmp_path / f"{name}-{rank}.safetensors") for rank in (0, 1))
        for key, tensor in alone.model.state_dict().items():
            assert torch.equal(first[key], second[key]), (name, key)
            assert torch.allclose(first[key], tensor, atol=1e-5, rtol=0), (name, key)
        for rank in (0, 1):
            history = json.loads((tmp_path / f"{name}-{rank}.json").read_text())
            for entry, other in zip(history, alone.trained.history, strict=True):
                assert entry == pytest.approx(other, abs=1e-5), name


@pytest.mark.long
def test_a_signal_to_one_rank_stops_all_and_a_resumed_run_ends_in_the_same_bits(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    """With dropout, which each rank draws by itself: the checkpoint has the generators of both."""
    recipe = make_recipe(optim={"lr": 3e-3, "ema": 0.9})
    text = recipe.model_dump_json()

    codes = run_all(
        {
            "whole": Job(text, "whole"),
            "terminated": Job(text, "stopped", terminated=8),
            "resumed": Job(text, "stopped", resume=True),
        },
        tmp_path,
    )

    stopped = 128 + signal.SIGTERM
    assert codes == {"whole": [0, 0], "terminated": [stopped, stopped], "resumed": [0, 0]}
    whole = load_file(tmp_path / "whole-0.safetensors")
    for rank in (0, 1):
        resumed = load_file(tmp_path / f"resumed-{rank}.safetensors")
        assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    rng = load(list_checkpoints(tmp_path / "stopped")[0]).rng
    assert isinstance(rng["others"], list)
    assert [other["torch"] != rng["torch"] for other in rng["others"]] == [True]
    one = run(recipe, intents, tmp_path / "stopped", resume=True)
    assert one.trained.steps == 18


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [1, 2, 7, 32])
def test_shares_are_the_whole_batch(count: int, world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(range(100, 100 + count))
    shares = []
    for rank in range(world):
        monkeypatch.setattr("training.parallel.batch.GROUP", Group(rank, world))
        with sharing(rows) as share:
            shares.append(share)

    counted = {row: sum(share.weight / len(share.rows) for share in shares if row in share.rows) for row in rows}
    assert counted == pytest.approx(dict.fromkeys(rows, 1 / count))
    assert max(len(share.rows) for share in shares) - min(len(share.rows) for share in shares) <= 1
    assert all(share.rows for share in shares)


def test_a_command_other_than_train_is_refused_under_torchrun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    assert main(["build", "nowhere"]) == 1
    assert capsys.readouterr().err == ("encodery: torchrun is for `train`; run `python -m training build` without it\n")
