import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from app.bundle.errors import BundleError
from app.bundle.open import open_bundle
from app.engine import cpu_plans
from app.engine.agree import Exam
from app.engine.cpu_plans import candidates, wanted
from app.engine.load import load_model, replay_plans
from app.engine.session import PlanError
from app.types import Item, Rows
from tests.app.engine.plans import PAIR, exam_of, plan_of, with_pair
from tests.contract.bundles import CLASSIFIER, ENCODER, MODEL, STORE, copy_of, edit_graph, replace_file, shuffle_weights

FOLDER = STORE / ENCODER / "1"
NAMES = ["onnxruntime-fp32", "openvino-bf16", "openvino-int8"]


@pytest.fixture
def bf16_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_plans, "cpu_flags", lambda: frozenset({"avx512_bf16"}))


def missing(folder: Path) -> dict[str, str | None]:
    return {plan.name: plan.missing for plan in candidates(open_bundle(folder))}


def test_a_bundle_without_int8_files_says_what_it_has(bf16_cpu: None) -> None:
    assert missing(FOLDER) == {
        "onnxruntime-fp32": None,
        "openvino-bf16": None,
        "openvino-int8": "the bundle has no int8 files; it has: fp32",
    }


def test_a_verified_pair_is_a_plan(tmp_path: Path, bf16_cpu: None) -> None:
    assert missing(with_pair(tmp_path)) == dict.fromkeys(NAMES)


def test_an_unverified_pair_is_none(tmp_path: Path) -> None:
    folder = with_pair(tmp_path, state="unverified")

    assert missing(folder)["openvino-int8"] == "model.int8.xml is unverified: it has not passed its gate"


def test_a_cpu_without_bf16_has_no_bf16_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_plans, "cpu_flags", lambda: frozenset({"avx2"}))

    assert missing(FOLDER)["openvino-bf16"] == "this CPU has no bf16 instructions"


def test_without_openvino_only_onnxruntime_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = with_pair(tmp_path)
    monkeypatch.delitem(sys.modules, "app.engine.openvino")
    monkeypatch.delattr(sys.modules["app.engine"], "openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)  # Python's own way to say that a package is not installed

    reason = "openvino is not installed; the extra `cpu` brings it"
    assert missing(folder) == {"onnxruntime-fp32": None, "openvino-bf16": reason, "openvino-int8": reason}
    assert load_model(folder, "cpu", lanes=1).status.precision == "fp32"


def test_a_gpu_has_the_reference_alone() -> None:
    assert [plan.name for plan in candidates(open_bundle(FOLDER), "cuda")] == ["onnxruntime-fp32"]


def test_a_pinned_plan_that_is_not_there_refuses_with_what_there_is(bf16_cpu: None) -> None:
    message = (
        r"^ENCODERY_PLAN=int8, but tiny-encoder@1 cannot run so here: the bundle has no int8 files; it has: fp32; "
        r"it can run as: fp32, bf16$"
    )
    with pytest.raises(PlanError, match=message):
        wanted(candidates(open_bundle(FOLDER)), "int8", "tiny-encoder@1")


@pytest.mark.parametrize("setting", ["fp32", "bf16", "int8"])
def test_a_pinned_plan_is_the_only_one_that_is_tried(
    setting: cpu_plans.Setting, tmp_path: Path, bf16_cpu: None
) -> None:
    status = load_model(with_pair(tmp_path), "cpu", lanes=1, setting=setting).status

    assert status.precision == setting
    assert status.plan is not None
    assert [figures.name for figures in status.plan.figures] == [status.plan.name]
    assert status.plan.reason == f"pinned by ENCODERY_PLAN={setting}"


def test_a_pinned_pair_that_disagrees_refuses_the_model(tmp_path: Path) -> None:
    folder = with_pair(tmp_path, scale=3.0)

    with pytest.raises(BundleError) as refusal:
        load_model(folder, "cpu", lanes=1, setting="int8")

    assert refusal.value.rule == "B10-golden"


@pytest.mark.parametrize("name", [CLASSIFIER, ENCODER])
def test_every_plan_of_the_committed_bundles_agrees_here(name: str) -> None:
    results = dict(replay_plans(STORE / name / "1", "cpu"))

    assert list(results) == NAMES
    assert all(result.endswith("golden rows agree") or result.startswith("not here") for result in results.values())


def test_replaying_tells_a_pair_that_disagrees(tmp_path: Path) -> None:
    results = dict(replay_plans(with_pair(tmp_path, scale=3.0), "cpu"))

    assert results["openvino-int8"].startswith("refused: [B10-golden] head embedding: golden row")
    assert results["onnxruntime-fp32"].endswith("agree")


def test_a_pair_that_openvino_cannot_read_is_refused_by_name(tmp_path: Path) -> None:
    folder = with_pair(tmp_path)
    replace_file(folder, PAIR[0], b'<?xml version="1.0"?>\n<net>')

    with pytest.raises(BundleError, match=r"model\.int8\.xml is not XML") as refusal:
        plan_of(open_bundle(folder), "openvino-int8").lane(1)

    assert refusal.value.rule == "B06-graph"


def test_a_changed_byte_of_a_pair_refuses_the_bundle_whatever_plan_would_serve(tmp_path: Path) -> None:
    folder = with_pair(tmp_path)
    data = bytearray((folder / PAIR[1]).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / PAIR[1]).write_bytes(data)

    with pytest.raises(BundleError) as refusal:
        load_model(folder, "cpu", lanes=1)

    assert refusal.value.rule == "B05-bytes"


def test_a_reference_that_disagrees_refuses_the_bundle(tmp_path: Path) -> None:
    folder = copy_of(ENCODER, tmp_path)
    edit_graph(folder, shuffle_weights)

    with pytest.raises(BundleError, match="golden row"):
        load_model(folder, "cpu", lanes=1)


class MinglingRunner:
    """Lets the mates of a text into its answer, by a thousandth of each of them: too little for the golden limits."""

    def __init__(self, folder: Path, share: float) -> None:
        self._inner = plan_of(open_bundle(folder), "onnxruntime-fp32").lane(1)
        self._share = share

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        outputs = self._inner.run(rows)
        return {name: rows_BD + self._share * (rows_BD.sum(axis=0) - rows_BD) for name, rows_BD in outputs.items()}


def test_a_text_whose_answer_depends_on_its_batch_is_found() -> None:
    exam: Exam = exam_of(FOLDER)

    exam.check(MinglingRunner(FOLDER, 0.0), "bf16", MODEL)
    with pytest.raises(BundleError, match="alone is not what it is in a batch"):
        exam.check(MinglingRunner(FOLDER, 0.01), "int8", MODEL)
