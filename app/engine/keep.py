"""What did an earlier start find out about this model on this machine?

One small JSON file a model version: which plan serves, every candidate's figures, and the price of its runs, which the
engine refines while it serves. A file of another machine, other libraries, another bundle, another setting or another
format counts as none, and so does one that cannot be read or makes no sense: everything is then measured again. Files
are replaced by rename; a folder that cannot be written is told in the log and costs a measurement at each start.
"""

import hashlib
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from app.batching.refine import within_bounds
from app.bundle.manifest import MANIFEST_FILE
from app.bundle.open import Bundle
from app.engine.machine import fingerprint
from app.types import Cost, ModelKey, PlanStatus

log = logging.getLogger(__name__)

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """A choice as it lies on disk. `measured` is the price as of the choice, `cost` what serving made of it."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    format: int
    about: Mapping[str, str]  # machine, libraries, bundle and setting: what it depends on
    made: str  # RFC 3339
    plan: PlanStatus
    is_wide: bool
    measured: Cost
    cost: Cost


_KEPT = TypeAdapter(Kept)


class Keeper:
    """The file of one model version.

    Args:
        folder: where the files of all models lie; made when the first is written.
        about: what a choice depends on; see `about`.
    """

    def __init__(self, folder: Path, key: ModelKey, about: Mapping[str, str]) -> None:
        self._path = folder / f"{key}.json"
        self._about = dict(about)

    def read(self) -> Kept | None:
        """What an earlier start kept, if it holds here."""
        try:
            kept = _KEPT.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.warning("%s cannot be used (%s); measured anew", self._path, _brief(error))
            return None
        if kept.format != FORMAT or not (_is_price(kept.measured) and _is_price(kept.cost)):
            log.warning("%s cannot be used (another format, or no prices in it); measured anew", self._path)
            return None
        if changed := sorted(k for k in kept.about.keys() | self._about if kept.about.get(k) != self._about.get(k)):
            log.info("%s was measured with another %s; measured anew", self._path, ", ".join(changed))
            return None
        return kept

    def write(self, plan: PlanStatus, *, is_wide: bool, cost: Cost) -> None:
        """Keep a new choice."""
        made = datetime.now(UTC).isoformat(timespec="seconds")
        self._replace(Kept(FORMAT, self._about, made, plan, is_wide, measured=cost, cost=cost))

    def write_cost(self, cost: Cost) -> None:
        """Keep a refined price beside the kept choice: within bounds of what was measured, start after start."""
        if (kept := self.read()) is not None and _is_price(cost):
            self._replace(replace(kept, cost=within_bounds(cost, kept.measured)))

    def _replace(self, kept: Kept) -> None:
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")  # several engines may write at once
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(_KEPT.dump_json(kept, indent=1))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._path)
        except OSError as error:
            if partial.exists():  # `replace` failed
                partial.unlink()
            log.warning("%s cannot be kept (%s); the next start measures again", self._path, _brief(error))


def about(bundle: Bundle, device: str, *, lanes: int, setting: str) -> Mapping[str, str]:
    """Everything that a choice depends on, by name. The manifest holds the digest of every file of its bundle."""
    manifest = (bundle.folder / MANIFEST_FILE).read_bytes()
    return {**fingerprint(device, lanes=lanes), "bundle": hashlib.sha256(manifest).hexdigest(), "setting": setting}


def _is_price(cost: Cost) -> bool:
    terms = (cost.overhead_ms, cost.ms_per_token, cost.ms_per_pair)
    return all(map(math.isfinite, terms)) and min(terms[:2]) > 0 <= terms[2] and cost.lanes > 0 < cost.pad_to


def _brief(error: OSError | ValidationError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole file'}: {first['msg']}"
