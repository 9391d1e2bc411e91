"""Every way in which a graph in XML can be none, or not the one of its manifest."""

from pathlib import Path

import openvino as ov
import pytest

from app.bundle.errors import BundleError
from app.bundle.ir import check_ir
from app.bundle.manifest import Manifest
from app.bundle.verify import verify

TINY = Path(__file__).parents[1] / "data" / "store" / "tiny-encoder" / "1"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, int, Manifest]:
    """The tiny encoder as an IR: XML, size of its weights, manifest."""
    path = tmp_path_factory.mktemp("ir") / "model.xml"
    bundle = verify(TINY)
    file = bundle.manifest.model_file("fp32")
    assert file is not None
    ov.save_model(ov.Core().read_model(bundle.read(file)), str(path), compress_to_fp16=False)
    return path.read_bytes(), path.with_suffix(".bin").stat().st_size, bundle.manifest


def test_the_graph_that_openvino_writes_is_taken(pair: tuple[bytes, int, Manifest]) -> None:
    xml, size, manifest = pair

    assert b"<layer" in xml
    check_ir(xml, size, manifest, "model.xml")


@pytest.mark.parametrize(
    ("old", "new", "rule", "message"),
    [
        (b"</net>", b"", "B06-graph", "is not XML"),
        (b"<net", b'<!DOCTYPE net [<!ENTITY a SYSTEM "file:///etc/passwd">]><net', "B06-graph", "declarations"),
        (b'version="11"', b'version="10"', "B06-graph", "version 11"),
        (b'type="MatMul" version="opset1"', b'type="MatMul" version="extension"', "B06-graph", "extension::MatMul"),
        (b'offset="0"', b'offset="999999999"', "B06-graph", "outside the weights"),
        (b'offset="0"', b'offset="-8"', "B06-graph", "no place in the weights"),
        (b'offset="0"', b"", "B06-graph", "no place in the weights"),
        (b'offset="0"', b'offset="0_0"', "B06-graph", "no place in the weights"),
        (b"<?xml", b"\n<?xml", "B06-graph", "does not begin"),
        (b'<?xml version="1.0"', b'<?xml version="1.0" encoding="cp037"', "B06-graph", "does not begin"),
        (b'element_type="i64"', b'element_type="i32"', "B07-signature", "input"),
        (b'output_names="sentence_embedding"', b'output_names="other"', "B07-signature", "outputs are"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value,
)
def test_a_graph_that_breaks_a_rule_is_refused(
    pair: tuple[bytes, int, Manifest], old: bytes, new: bytes, rule: str, message: str
) -> None:
    xml, size, manifest = pair
    assert old in xml

    with pytest.raises(BundleError, match=message) as refusal:
        check_ir(xml.replace(old, new, 1), size, manifest, "model.xml")

    assert refusal.value.rule == rule


def test_a_graph_in_xml_never_stands_without_its_weights(pair: tuple[bytes, int, Manifest]) -> None:
    _, _, manifest = pair
    data = manifest.model_dump(mode="json")
    graph = {"path": "model.int8.xml", "role": "model", "precision": "int8", "device": "cpu", "bytes": 1}
    data["files"].append(graph | {"sha256": "ab" * 32, "state": "verified"})

    with pytest.raises(ValueError, match="come together"):
        Manifest.model_validate(data)
