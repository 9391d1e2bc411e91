"""What in the data should a person look at, though it stops nothing?

A finding is a place, `file:line`, and what is known of it. Texts are not kept here: the report looks the few up that it
shows.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

Check = Literal["duplicate", "overlap", "conflict", "several labels", "apart", "shared text", "near", "over-long"]
SHOWN = 3  # places in a line for a person; the report has more


class Finding(NamedTuple):
    """A row; the `other` row it is like, if it is about two; a few words of `detail`."""

    where: str
    other: str = ""
    detail: str = ""

    def __str__(self) -> str:
        return self.where + (f" = {self.other}" if self.other else "") + (f" ({self.detail})" if self.detail else "")


def places(findings: Sequence[Finding], shown: int = SHOWN) -> str:
    """The first few, and how many more there are."""
    listed = "; ".join(str(finding) for finding in findings[:shown])
    hidden = len(findings) - shown
    return listed + (f"; … and {hidden:,} more" if hidden > 0 else "")
