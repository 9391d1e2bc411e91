"""From a graph to a pair of files: which texts, which bytes, which products."""

import logging
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import onnx
import pytest

from app.bundle.ir import check_ir
from app.bundle.tokenizer import load_tokenizer
from app.bundle.verify import verify
from tests.contract.bundles import CLASSIFIER, STORE
from training.data.collate import encode
from training.export.int8 import Int8Error, Pair, Quantizer, calibration_texts, neutral_texts

ROOT = Path(__file__).parents[3]
BUNDLE = verify(STORE / CLASSIFIER / "1")
GRAPH = BUNDLE.read(next(file for file in BUNDLE.manifest.files if file.precision == "fp32"))
FEW = 8  # calibration rows: enough for ranges, and quick


@pytest.fixture(scope="module")
def quantizer() -> Quantizer:
    texts = calibration_texts([], BUNDLE.manifest.max_tokens)[-FEW:]
    tokenizer = load_tokenizer(BUNDLE.read(BUNDLE.manifest.file("tokenizer")))
    return Quantizer(GRAPH, encode(tokenizer, texts, BUNDLE.manifest.max_tokens), BUNDLE.manifest.pad_id)


@pytest.fixture(scope="module")
def pair(quantizer: Quantizer) -> Pair:
    return quantizer.quantize()


def test_a_graph_that_openvino_does_not_take_is_refused_in_its_words() -> None:
    model = onnx.load_model_from_string(GRAPH)
    model.graph.node[0].op_type, model.graph.node[0].domain = "Unheard", "com.microsoft"

    with pytest.raises(Int8Error, match=r"^OpenVINO does not take the graph: .*com\.microsoft\.Unheard") as refused:
        Quantizer(model.SerializeToString(), [[2, 5, 3]], 0).quantize()

    assert "\n" not in str(refused.value)


def test_texts_that_judge_have_calibrated_nothing() -> None:
    calibrating, judging = neutral_texts(0, 300), neutral_texts(1, 300)
    sentences = judging[:60]  # what the longer ones are made of

    assert len(calibrating) == len(judging) == 300
    assert not [sentence for sentence in sentences if any(sentence in text for text in calibrating)]


def test_calibration_texts_are_of_mixed_length_and_half_of_them_the_models_own() -> None:
    own = [f"question {number} of a customer" for number in range(1000)]

    texts = calibration_texts(own, max_tokens=64)

    words = sorted(len(text.split()) for text in texts)
    assert len(texts) == 300
    assert len(set(texts) & set(own)) == 150
    assert words[30] <= 5
    assert words[-10] >= 60


def test_a_pair_has_the_signature_of_its_graph_and_far_smaller_weights(pair: Pair) -> None:
    """A quarter of the graph's, and biases, norms and scales, which stay in float32."""
    check_ir(pair.model, len(pair.weights), BUNDLE.manifest, "model.int8.xml")

    assert len(pair.weights) < 0.5 * len(GRAPH)


def test_the_same_rows_give_the_same_bytes(quantizer: Quantizer, pair: Pair) -> None:
    assert quantizer.quantize() == pair


def test_a_product_that_is_left_out_is_not_rounded(quantizer: Quantizer, pair: Pair) -> None:
    hardest = quantizer.hardest_products()

    without = quantizer.quantize(hardest[:1])

    assert len(hardest) == 2  # the second product of the feed-forward block of each of two layers
    assert _count(without, "FakeQuantize") == _count(pair, "FakeQuantize") - 1


def test_each_row_that_runs_is_counted_and_nothing_is_printed(
    quantizer: Quantizer, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Standard output is for results; other loggers are still heard."""
    seen: list[None] = []

    quantizer.quantize(on_run=lambda: seen.append(None))

    assert len(seen) == quantizer.runs == 2 * FEW
    assert capsys.readouterr().out == ""
    logging.getLogger("another").warning("heard")
    assert caplog.messages == ["heard"]


def test_quantising_tells_nobody_and_leaves_the_home_folder_alone(tmp_path: Path) -> None:
    """NNCF would write an id into it and report each call; it does so outside of tests only, hence the process."""
    code = "import training, nncf.telemetry; print(type(nncf.telemetry.telemetry).__name__)"

    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "NNCFTelemetry" not in result.stdout.split()
    assert list(tmp_path.iterdir()) == []


def _count(pair: Pair, kind: str) -> int:
    return sum(layer.get("type") == kind for layer in ElementTree.fromstring(pair.model).iter("layer"))
