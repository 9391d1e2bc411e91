from pathlib import Path

import pytest

from app.bundle.open import open_bundle
from app.engine import cpu_choice
from app.engine.cpu_choice import Choosing, Chosen
from app.engine.load import load_model
from app.types import PlanStatus
from tests.app.engine.plans import TestClock, exam_of, paced, plan_of, with_pair
from tests.contract.bundles import ENCODER, STORE

FOLDER = STORE / ENCODER / "1"


def choose(**ms_per_token: float) -> Chosen:
    """The choice among plans that all agree, from the price of a token in each."""
    names = {"fp32": "onnxruntime-fp32", "bf16": "openvino-bf16", "int8": "openvino-int8"}
    clock = TestClock()
    prices = {names[precision]: price for precision, price in ms_per_token.items()}
    plans = paced(plan_of(open_bundle(FOLDER), "onnxruntime-fp32"), clock, prices)
    return Choosing(exam_of(FOLDER), lanes=1, clock=clock).choose(plans)


def verdicts(status: PlanStatus) -> dict[str, str]:
    return {figures.name: figures.verdict for figures in status.figures}


def test_the_fastest_plan_that_agrees_serves_and_the_others_say_why_not() -> None:
    status = choose(fp32=0.2, bf16=0.1, int8=0.05).status

    assert status.name == "openvino-int8"
    assert status.reason.startswith("the fastest that agrees, 3.")
    assert verdicts(status) == {
        "onnxruntime-fp32": "slower than openvino-int8",
        "openvino-bf16": "slower than openvino-int8",
        "openvino-int8": f"serves: {status.reason}",
    }


def test_a_less_exact_plan_must_be_worth_it() -> None:
    status = choose(fp32=0.2, bf16=0.1, int8=0.098).status

    assert status.name == "openvino-bf16"
    assert verdicts(status)["openvino-int8"].endswith("times as fast as openvino-bf16, which is more exact")


def test_the_reference_serves_where_nothing_is_faster() -> None:
    status = choose(fp32=0.1, bf16=0.2).status

    assert (status.name, status.reason) == ("onnxruntime-fp32", "no other plan is 1.1 times as fast")


def test_figures_and_price_are_those_that_the_clock_told() -> None:
    chosen = choose(fp32=0.2, bf16=0.05)

    assert chosen.status.figures[0].ms == pytest.approx(
        {"1x16": 4.2, "1x48": 10.6, "4x32": 26.6, "8x64": 103.4, "2x64": 26.6}
    )
    assert chosen.cost.overhead_ms == pytest.approx(1.0, rel=1e-3)
    assert chosen.cost.ms_per_token == pytest.approx(0.05, rel=1e-3)
    assert chosen.status.figures[1].texts_per_s == pytest.approx(4 / 7.4 * 1e3, rel=1e-3)


def test_a_pair_that_disagrees_is_refused_and_the_model_serves_without_it(tmp_path: Path) -> None:
    status = load_model(with_pair(tmp_path, scale=3.0), "cpu", lanes=1).status

    assert status.plan is not None
    assert status.precision != "int8"
    assert verdicts(status.plan)["openvino-int8"].startswith("refused: [B10-golden]")


@pytest.mark.parametrize("is_faster", [True, False])
def test_a_lone_request_gets_all_cores_only_where_that_is_faster(
    is_faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_choice, "is_wide_faster", lambda *_: is_faster)

    model = load_model(FOLDER, "cpu", lanes=2)

    assert (model.wide is not model.lane) is is_faster
    assert model.wide.run([model.probe]).keys() == model.lane.run([model.probe]).keys()


def test_one_lane_needs_no_runner_for_all_cores() -> None:
    model = load_model(FOLDER, "cpu", lanes=1)

    assert model.wide is model.lane
