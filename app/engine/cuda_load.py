"""How does a bundle get the plan that is fastest on this GPU?

The candidates of cuda_plans.py are measured at every start; what is chosen is timed once more for the price of its
runs. If none of them holds, the caller goes on with the reference plan.
"""

import logging
import time
from typing import cast

from app.batching.cost import fit
from app.bundle.manifest import Precision
from app.bundle.open import Bundle
from app.bundle.packed import PACKED_FILE
from app.engine.agree import Exam
from app.engine.attempts import Attempts
from app.engine.cuda_choice import Choice, NoPlanError
from app.engine.cuda_plans import choose_plan
from app.engine.measure import SHAPES, TURNS, texts_per_s, time_shapes
from app.engine.session import Device
from app.types import ModelKey, ModelStatus, PlanFigures, PlanStatus, Runner

log = logging.getLogger(__name__)


def load_on_gpu(
    bundle: Bundle, exam: Exam, *, attempts: Attempts, device: Device = "cuda"
) -> tuple[Runner, ModelStatus] | None:
    """The runner that serves the bundle on this GPU, and what is known of it; None if no plan holds.

    Args:
        attempts: where a plan is named before it is tried, so that one that kills engines is not tried for ever.
        device: `cpu` rehearses where there is no GPU.

    Raises:
        DeviceLostError: this process has to end, and one after it leaves the plan out. BundleError: the packed graph is
        none.
    """
    manifest = bundle.manifest
    key, model = ModelKey(manifest.name, manifest.version), manifest.model_file("fp32")
    packed = next((file for file in manifest.files if file.path == PACKED_FILE), None)
    assert model is not None  # the manifest's own validator guarantees it
    try:
        choice = choose_plan(
            manifest,
            model=bundle.read(model),
            packed=bundle.read(packed) if packed is not None else None,
            rows=exam.rows,
            expected=exam.expected,
            attempts=attempts,
            clock=time.perf_counter,
            device=device,
        )
    except NoPlanError as error:
        log.warning("%s: %s; the reference plan is taken", key, error)
        return None
    (samples,) = time_shapes(
        [choice.runner],
        SHAPES,
        exam.pool,
        max_tokens=manifest.max_tokens,
        turns=TURNS,
        clock=time.perf_counter,
    )
    cost = fit(samples, lanes=1)
    status = _status(choice, texts_per_s(cost, manifest.max_tokens))
    log.info("%s runs as %s: %s; left out: %s", key, status.name, status.reason, dict(choice.refused))
    precision = cast(Precision, choice.candidate.precision)  # candidates are made of these alone
    return choice.runner, ModelStatus(key, device, precision, cost, status)


def _status(choice: Choice, speed: float) -> PlanStatus:
    name = choice.candidate.name
    reason = "the fastest on this GPU that gives the golden outputs"
    figures = [
        PlanFigures(each, f"serves: {reason}", speed, times)
        if each == name
        else PlanFigures(each, f"slower than {name}", ms=times)
        for each, times in choice.figures.items()
    ]
    figures += [PlanFigures(each, f"refused: {why}") for each, why in choice.refused.items()]
    return PlanStatus(name, reason, figures)
