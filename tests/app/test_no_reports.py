import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_nothing_phones_home(tmp_path: Path) -> None:
    """Both runtimes write an id into the home folder when they are loaded, before they send anything."""
    code = (
        "import app.engine.openvino, app.engine.session, openvino.tools.ovc; "
        "print(type(openvino.tools.ovc.telemetry).__module__)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert run.stdout.strip() == "openvino.tools.ovc.telemetry_stub"
    assert list(tmp_path.iterdir()) == []
