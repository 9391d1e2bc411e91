"""Whose turn is it, when several principals want the engine at once?

Weighted fair queueing (Demers, Keshav, Shenker, SIGCOMM 1989; start tags as in Goyal, Vin, Cheng, SIGCOMM 1996): each
flow – one principal at one priority – has a tag that grows by the tokens that it is served, divided by its weight; the
flow with the smallest tag goes next, and among equals the oldest deadline. So a caller who queues a thousand texts
waits behind himself and not before others, and bulk work gets what interactive callers leave, but never nothing.

Virtual time grows as the tag of a flow would that gets exactly its share. No tag counts as less: idleness saves nothing
up, and a stream of ever new callers cannot keep an old one waiting.
"""

from collections.abc import Iterable
from typing import Final

from app.types import Flow, Priority

WEIGHTS: Final[dict[Priority, float]] = {"interactive": 16.0, "bulk": 1.0}  # shares while both want all of it
FORGET_FROM = 64  # flows; below, looking for idle ones costs more than it saves


class Flows:
    """The tags of all flows of one engine. Not thread-safe."""

    def __init__(self) -> None:
        self._served_to: dict[Flow, float] = {}
        self._now = 0.0
        self._forget_at = FORGET_FROM

    def __len__(self) -> int:
        return len(self._served_to)

    def start(self, flow: Flow) -> float:
        """The tag at which the flow's next row starts; the smallest goes first."""
        return max(self._served_to.get(flow, 0.0), self._now)

    def serve(self, shares: Iterable[tuple[Flow, int]], waiting: Iterable[Flow]) -> None:
        """Charge each flow the tokens that it gets of a batch, while the flows `waiting` wanted one, these included."""
        served = 0
        for flow, tokens in shares:
            self._served_to[flow] = self.start(flow) + tokens / WEIGHTS[flow.priority]
            served += tokens
        self._now += served / sum(WEIGHTS[flow.priority] for flow in waiting)
        if len(self._served_to) > self._forget_at:
            self._forget_idle()

    def _forget_idle(self) -> None:
        """Drop the flows that are where a new one would start, so that memory follows the callers of the moment."""
        self._served_to = {flow: tag for flow, tag in self._served_to.items() if tag > self._now}
        self._forget_at = max(FORGET_FROM, 2 * len(self._served_to))
