"""Runners that keep the Runner protocol and do what a test needs."""

import threading
from collections.abc import Mapping, Sequence

import numpy as np

from app.engine.load import LoadedModel
from app.types import Cost, Ids, Item, ModelKey, ModelStatus, Rows, Runner

KEY = ModelKey("echo", 1)


class EchoRunner:
    """Answers each row with its sum and its length, and remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        self.batches.append([len(row) for row in rows])
        return {"out": np.array([[row.sum(), len(row)] for row in rows], np.float32)}


class GatedRunner(EchoRunner):
    """Runs nothing until `gate` is opened; `entered` tells that a batch is inside."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        self.entered.release()
        assert self.gate.wait(10)
        return super().run(rows)


class PoisonedRunner(EchoRunner):
    """Fails every batch that holds the token -1."""

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        if any((row == -1).any() for row in rows):
            self.batches.append([len(row) for row in rows])
            raise RuntimeError("poison")
        return super().run(rows)


def loaded(runner: Runner, key: ModelKey = KEY) -> LoadedModel:
    """A model around `runner`, whose runs cost so much that rows of like length share one."""
    status = ModelStatus(key, "cpu", "fp32", Cost(overhead_ms=10.0, ms_per_token=0.1, lanes=1))
    return LoadedModel(runner, runner, status, probe=ids(1, 2, 3))


def ids(*values: int) -> Ids:
    """One row of token ids."""
    return np.array(values, np.int32)
