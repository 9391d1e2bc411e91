"""The service: loads bundles and answers over HTTP. Never imports torch.

Nothing here reports to anyone. ONNX Runtime from 1.29 on, and OpenVINO through a package of its own, count their use
for their makers, write an id into the home folder and send it, unless they are told not to before they are loaded.
They are told here, since nothing of this package can be imported before it.
"""

import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# An import of the package now fails, and OpenVINO takes its own stub instead.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # Python's own way to say "there is none"
