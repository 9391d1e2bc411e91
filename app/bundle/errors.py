"""What can be wrong with a bundle?

Each MUST of docs/bundle-format.md has a rule id; a refusal names it, so that a person can look it up and a test
can ask for it.
"""

from typing import Literal

Rule = Literal[
    "B01-manifest",  # manifest.json is there and keeps its schema
    "B02-place",  # the folder is <name>/<version> as the manifest says
    "B03-files",  # exactly the files that the manifest names, no more and no fewer
    "B04-plain",  # regular files, no links of any kind
    "B05-bytes",  # each with its size and sha256
    "B06-graph",  # the ONNX file parses, keeps its tensors inside and uses known operators
    "B07-signature",  # the graph's inputs and outputs are the manifest's
    "B08-tokenizer",  # tokenizer.json loads and neither pads nor truncates
    "B09-golden-files",  # golden inputs and outputs are complete and finite
    "B10-golden",  # the golden inputs give the golden outputs on this device
    "B11-current",  # the `current` file names a version that exists
    "B12-scope",  # scope.npz holds finite statistics of the model's shapes
]


class BundleError(Exception):
    """A bundle is refused. `rule` says which promise it broke; the message says where and how."""

    def __init__(self, rule: Rule, message: str) -> None:
        super().__init__(f"[{rule}] {message}")
        self.rule = rule
        self.reason = message
