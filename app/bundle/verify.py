"""Is this folder a whole and honest bundle, as far as can be told without running it?"""

from pathlib import Path

from app.bundle.golden import load_golden
from app.bundle.graph import check_graph
from app.bundle.ir import check_ir
from app.bundle.open import Bundle, open_bundle
from app.bundle.packed import PACKED_FILE, check_packed
from app.bundle.scope import load_statistics
from app.bundle.tokenizer import load_tokenizer


def verify(folder: Path) -> Bundle:
    """Check every rule but B10 (which needs a device) and return the opened bundle.

    Raises:
        BundleError: the first broken rule.
    """
    bundle = open_bundle(folder)
    for file in bundle.manifest.files:
        data = bundle.read(file)
        if file.role == "model" and file.path.endswith(".onnx"):
            check = check_packed if file.path == PACKED_FILE else check_graph
            check(data, bundle.manifest, file.path)
        if file.role == "model" and file.path.endswith(".xml"):
            weights = bundle.manifest.weights_file(file.precision) if file.precision else None
            check_ir(data, weights.bytes if weights else 0, bundle.manifest, file.path)
        if file.role == "tokenizer":
            load_tokenizer(data)
    load_golden(bundle)
    load_statistics(bundle)
    return bundle
