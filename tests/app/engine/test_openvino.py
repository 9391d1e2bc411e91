from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.bundle.feeding import feeder
from app.bundle.ir import full_length
from app.bundle.open import Bundle, open_bundle
from app.engine.load import golden_rows
from app.engine.openvino import PAD_TO, OpenVinoRunner
from app.engine.runner import OrtRunner
from app.types import Ids
from tests.contract.bundles import CLASSIFIER, ENCODER, STORE


def graph_of(bundle: Bundle) -> bytes:
    file = bundle.manifest.model_file("fp32")
    assert file is not None
    return bundle.read(file)


@pytest.fixture(params=[ENCODER, CLASSIFIER])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return open_bundle(STORE / request.param / "1")


@pytest.mark.parametrize("streams", [1, 2])
def test_openvino_gives_what_onnxruntime_gives(bundle: Bundle, streams: int) -> None:
    rows = golden_rows(bundle)
    runner = OpenVinoRunner(bundle.manifest, graph_of(bundle), hint="f32", streams=streams, threads=streams)

    found, expected = runner.run(rows), OrtRunner(bundle.manifest, graph_of(bundle), "cpu").run(rows)

    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].dtype == np.float32
        assert found[name] == pytest.approx(expected[name], abs=1e-5)


def test_threads_that_share_a_runner_get_their_own_answers(bundle: Bundle) -> None:
    """Three threads over two streams: the third waits for one, and nobody's outputs are overwritten."""
    runner = OpenVinoRunner(bundle.manifest, graph_of(bundle), hint="f32", streams=2, threads=2)
    rows = golden_rows(bundle)
    expected = [runner.run([row]) for row in rows]

    def all_alone(_: int) -> list[float]:
        answers = [runner.run([row]) for row in rows]
        pairs = [(a[name], e[name]) for a, e in zip(answers, expected, strict=True) for name in e]
        return [float(np.abs(answer - wanted).max()) for answer, wanted in pairs]

    with ThreadPoolExecutor(3) as pool:
        distances = [distance for part in pool.map(all_alone, range(3)) for distance in part]

    assert max(distances) < 1e-6


def test_an_answer_is_not_overwritten_by_the_next_run(bundle: Bundle) -> None:
    runner = OpenVinoRunner(bundle.manifest, graph_of(bundle), hint="f32", streams=1, threads=1)
    first, second = golden_rows(bundle)[:2]
    answer = runner.run([first])
    before = {name: value.copy() for name, value in answer.items()}

    runner.run([second])

    assert {name: value.tolist() for name, value in answer.items()} == {
        name: value.tolist() for name, value in before.items()
    }


MOST = 2 * PAD_TO + 3  # tokens that a model takes, no multiple


@pytest.mark.parametrize(
    ("longest", "padded"),
    [(1, PAD_TO), (PAD_TO, PAD_TO), (PAD_TO + 1, 2 * PAD_TO), (2 * PAD_TO + 1, MOST), (MOST, MOST)],
)
def test_lengths_are_rounded_up_and_the_padding_is_masked(longest: int, padded: int) -> None:
    rows: list[Ids] = [np.full(longest, 7, np.int32), np.full(1, 9, np.int32)]

    feeds = feeder(["input_ids", "attention_mask"], 0)(rows, full_length(longest, MOST))

    assert feeds["input_ids"].shape == feeds["attention_mask"].shape == (2, padded)
    assert feeds["attention_mask"].sum(axis=1).tolist() == [longest, 1]
    assert feeds["input_ids"].sum(axis=1).tolist() == [7 * longest, 9]
