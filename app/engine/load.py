"""How does a bundle become something that may serve?

Verified, opened on the device by each plan that it allows there, its golden inputs replayed, and timed – in this order;
a bundle whose reference plan fails at any step is refused with the rule that it broke. An earlier start's choice is
taken if it was kept (keep.py): then only its golden inputs are replayed. On a GPU plans are measured at every start
(cuda_load.py), and one that is pinned is the reference.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.bundle.errors import BundleError
from app.bundle.golden import load_golden
from app.bundle.open import Bundle, open_bundle
from app.bundle.tokenizer import cutting, load_tokenizer
from app.engine.agree import Exam
from app.engine.agree import run_in_batches as run_in_batches
from app.engine.attempts import Attempts
from app.engine.cpu_choice import OF_THE_PLAN, Choosing, Chosen
from app.engine.cpu_plans import Plan, Setting, candidates, wanted
from app.engine.cuda_load import load_on_gpu
from app.engine.keep import Keeper, about
from app.engine.session import Device
from app.types import Cost, Item, ModelKey, ModelStatus, Runner

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that agreed with its golden outputs on this device."""

    lane: Runner  # a run on one thread; several go side by side
    wide: Runner  # a run on all cores, for a request that finds the engine empty
    status: ModelStatus
    probe: Item  # one real row, for the engine to run when it is idle
    keeper: Keeper | None = None


def load_model(
    folder: Path,
    device: Device,
    *,
    lanes: int,
    setting: Setting = "auto",
    keep_in: Path | None = None,
    attempts: Attempts | None = None,
) -> LoadedModel:
    """Open, check, replay and time the bundle in `folder`, for `lanes` runs side by side.

    Args:
        setting: a precision to pin its plan.
        keep_in: the folder of kept choices; without it nothing is taken from an earlier start or kept for a later.
        attempts: which plans engines died of on a GPU, as far as that is kept.

    Raises:
        BundleError: any broken rule. DeviceError: the session does not run on `device`, or (PlanError) the pinned plan
        is not to be had. DeviceLostError: a plan took the GPU with it; a new one leaves out a plan that two died of.
    """
    bundle = open_bundle(folder)
    key = ModelKey(bundle.manifest.name, bundle.manifest.version)
    plans = wanted(candidates(bundle, device), setting, str(key))
    rows = golden_rows(bundle)
    exam = Exam(bundle.manifest, rows, load_golden(bundle).outputs)
    if (
        device == "cuda"
        and setting == "auto"
        and bundle.manifest.vectors is None
        and (found := load_on_gpu(bundle, exam, attempts=attempts or Attempts())) is not None
    ):
        runner, status = found
        return LoadedModel(runner, runner, status, min(rows, key=len))
    choosing = Choosing(
        exam,
        lanes=lanes,
        clock=time.process_time if device == "cpu" else time.perf_counter,
    )
    keeper = None
    if keep_in is not None:
        keeper = Keeper(keep_in, key, about(bundle, device, lanes=lanes, setting=setting))
    chosen = _kept(keeper, choosing, plans, key) if keeper is not None else None
    if chosen is None:
        chosen = choosing.choose(plans, why="" if setting == "auto" else f"pinned by ENCODERY_PLAN={setting}")
        _tell(key, chosen)
        if keeper is not None:
            keeper.write(chosen.status, is_wide=chosen.wide is not chosen.lane, cost=chosen.cost)
    status = ModelStatus(key, device, chosen.plan.precision, chosen.cost, chosen.status)
    return LoadedModel(chosen.lane, chosen.wide, status, min(rows, key=len), keeper)


def keep_cost(model: LoadedModel, cost: Cost) -> None:
    """Keep what serving taught of the price of `model`'s runs for the next start."""
    if model.keeper is not None:
        model.keeper.write_cost(cost)


def replay_plans(folder: Path, device: Device) -> Iterator[tuple[str, str]]:
    """Replay the golden inputs on every plan of the bundle in `folder`: its name, and what came of it.

    Raises:
        BundleError: the reference plan is refused, or the bundle is. DeviceError: it would not run on `device`.
    """
    bundle = open_bundle(folder)
    exam = Exam(bundle.manifest, golden_rows(bundle), load_golden(bundle).outputs)
    plans = candidates(bundle, device)
    for plan in plans:
        if plan.missing is not None:
            yield plan.name, f"not here: {plan.missing}"
            continue
        try:
            exam.check(plan.lane(1), plan.precision, plan.path)
        except BundleError as error:
            if plan is plans[0] or error.rule not in OF_THE_PLAN:
                raise
            yield plan.name, f"refused: {error}"
        else:
            yield plan.name, f"{len(exam.rows)} golden rows agree"


def golden_rows(bundle: Bundle) -> Sequence[Item]:
    """The golden vectors; or the golden texts as token ids, through the bundle's own tokenizer, over-long ones cut at
    their end.
    """
    if bundle.manifest.vectors is not None:
        return load_golden(bundle).vectors
    tokenizer = load_tokenizer(bundle.read(bundle.manifest.file("tokenizer")))
    cut = cutting(tokenizer, bundle.manifest.max_tokens, "end")
    return [np.asarray(cut.encode(text).ids, np.int32) for text in load_golden(bundle).texts]


def _kept(keeper: Keeper, choosing: Choosing, plans: list[Plan], key: ModelKey) -> Chosen | None:
    """The choice of an earlier start, if there is one and it still agrees."""
    kept = keeper.read()
    plan = next((plan for plan in plans if kept is not None and plan.name == kept.plan.name), None)
    if kept is None or plan is None or plan.missing is not None:
        return None
    try:
        chosen = choosing.reopen(plan, kept.cost, kept.plan, is_wide=kept.is_wide)
    except BundleError as error:
        if error.rule not in OF_THE_PLAN:
            raise
        log.warning("%s ran as %s, which is refused now (%s); measured anew", key, plan.name, error)
        return None
    log.info("%s runs as %s, as measured %s: %s", key, plan.name, kept.made, kept.plan.reason)
    return chosen


def _tell(key: ModelKey, chosen: Chosen) -> None:
    """One line on the choice, with what came of every other plan."""
    others = [f"{f.name}: {f.verdict}" for f in chosen.status.figures if f.name != chosen.plan.name]
    log.info("%s runs as %s: %s", key, chosen.plan.name, "; ".join([chosen.status.reason, *others]))
