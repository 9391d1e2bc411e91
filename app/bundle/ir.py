"""Is this OpenVINO IR safe to hand to a runtime, and is it the graph that the manifest describes?

An IR is a graph in XML whose constants are slices of a file of weights beside it. The XML may have no DTD, so no entity
expands or reads a file, and names no encoding, so that every parser reads the same; every operator is one of OpenVINO's
own opsets, so no extension is loaded; every slice lies inside the weights.
"""

import re
import xml.etree.ElementTree as ElementTree

from app.bundle.errors import BundleError
from app.bundle.manifest import Manifest, Tensor

# Rows are padded to a multiple of this, in the gate and in the service. OpenVINO's attention takes 16 floats at a time,
# and a row whose last block is full gives other last bits than one whose last block is not; int8 rounding makes cosines
# of 0.9994 of them. With full blocks a text has the same bits alone and in any batch (docs/adr/0007-static-int8.md).
PAD_TO = 16
PROLOGUE = b'<?xml version="1.0"?>'
NUMBER = re.compile(r"[0-9]{1,18}")
OPSET = re.compile(r"opset\d{1,2}")
ELEMENTS = {"int64": "i64", "int32": "i32", "float32": "f32"}  # as `element_type` of a Parameter names them


def full_length(longest: int, max_tokens: int) -> int:
    """The tokens to which a batch is padded whose longest row has `longest`.

    A multiple of `PAD_TO`, but at most `max_tokens`: beyond them the model may have no positions.
    """
    return max(longest, min(-(-longest // PAD_TO) * PAD_TO, max_tokens))


def check_ir(data: bytes, weights_bytes: int, manifest: Manifest, path: str) -> None:
    """Parse and check one graph in XML, whose weights have `weights_bytes` bytes.

    Raises:
        BundleError: B06 for what is no IR, uses a foreign operator or points outside its weights; B07 when inputs or
            outputs differ from the manifest's.
    """
    layers = _layers(data, path)
    for layer in layers:
        if not OPSET.fullmatch(layer.get("version", "")):
            raise BundleError("B06-graph", f"{path}: unknown operator {layer.get('version')}::{layer.get('type')}")
        if layer.get("type") == "Const":
            _check_slice(layer, weights_bytes, path)
    _check_inputs([layer for layer in layers if layer.get("type") == "Parameter"], manifest.inputs, path)
    _check_outputs([layer for layer in layers if layer.get("type") == "Result"], manifest.outputs, path)


def _layers(data: bytes, path: str) -> list[ElementTree.Element]:
    if not data.startswith(PROLOGUE):  # with another encoding, declarations would hide from the next line
        raise BundleError("B06-graph", f"{path} does not begin as an IR does")
    if b"<!" in data:  # a document type or an entity: an IR has neither
        raise BundleError("B06-graph", f"{path} has declarations that no IR has")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise BundleError("B06-graph", f"{path} is not XML: {error}") from error
    layers = root.findall("layers/layer")
    if root.tag != "net" or root.get("version") != "11" or not layers:
        raise BundleError("B06-graph", f"{path} is not an OpenVINO IR of version 11")
    if any(body is not root.find("layers") for body in root.iter("layers")):
        raise BundleError("B06-graph", f"{path} has graphs inside its graph")
    return layers


def _check_slice(layer: ElementTree.Element, weights_bytes: int, path: str) -> None:
    attributes = data.attrib if (data := layer.find("data")) is not None else {}
    place = [attributes.get(name, "") for name in ("offset", "size")]
    if not all(NUMBER.fullmatch(number) for number in place):  # int() takes signs, spaces and underscores as well
        raise BundleError("B06-graph", f"{path}: constant {layer.get('name')!r} has no place in the weights")
    if sum(map(int, place)) > weights_bytes:
        raise BundleError("B06-graph", f"{path}: constant {layer.get('name')!r} lies outside the weights")


def _check_inputs(found: list[ElementTree.Element], expected: list[Tensor], path: str) -> None:
    by_name: dict[str, tuple[str | None, str | None]] = {}
    for layer in found:
        data = layer.find("data")
        described = (data.get("element_type"), data.get("shape")) if data is not None else (None, None)
        for port in layer.iterfind("output/port"):
            by_name |= dict.fromkeys(_names(port), described)
    if len(found) != len(expected):
        raise BundleError("B07-signature", f"{path} has {len(found)} inputs, not {len(expected)}")
    for tensor in expected:
        shape = ",".join(str(axis) if isinstance(axis, int) else "?" for axis in tensor.axes)
        if by_name.get(tensor.name) != (ELEMENTS[tensor.dtype], shape):
            got = by_name.get(tensor.name, "missing")
            raise BundleError("B07-signature", f"{path}: input {tensor.name} is {got}, not {tensor.dtype} [{shape}]")


def _check_outputs(found: list[ElementTree.Element], expected: list[Tensor], path: str) -> None:
    widths = {
        name: [dim.text for dim in layer.iterfind("input/port/dim")]
        for layer in found
        for name in layer.get("output_names", "").split(",")
    }
    wanted = {
        tensor.name: [str(axis) if isinstance(axis, int) else "-1" for axis in tensor.axes] for tensor in expected
    }
    if widths != wanted:
        raise BundleError("B07-signature", f"{path}: outputs are {widths}, not {wanted}")


def _names(port: ElementTree.Element) -> list[str]:
    return port.get("names", "").split(",")
