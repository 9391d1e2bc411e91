import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "training", "onnxscript", "sklearn", "matplotlib")


@pytest.mark.parametrize("module", ["app.main", "app.__main__"])
def test_importing_the_service_leaves_training_and_torch_unloaded(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout == "[]\n"
