"""An export that takes a second."""

import pytest

from training.export.onnx import torchscript


@pytest.fixture
def plain_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fastest exporter, and no other precisions: what is left is what the import has made."""
    monkeypatch.setattr("training.export.variants.MAKERS", ())
    monkeypatch.setattr("training.export.onnx.WAYS", (torchscript,))
