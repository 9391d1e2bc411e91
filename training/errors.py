"""Which errors can a person who trains see?

One class per thing that person can act on. The command line prints the message and exits 1; no traceback.
Messages say what is wrong, where, the value, the limit and the way out.
"""

from collections.abc import Sequence

SHOWN_PROBLEMS = 100  # more than a person reads; the rest is counted


class TrainingError(Exception):
    """Something a person can put right. The message is the whole story."""


class RecipeError(TrainingError):
    """A recipe does not parse, has an unknown key or a wrong value, or names what is not there."""


class DataError(TrainingError):
    """The data have faults. All of them are found before the first step.

    Args:
        summary: what was read and what to do; stands on the first line.
        problems: one `file:line: reason` each, in the order they were found; up to 100 are shown.
    """

    def __init__(self, summary: str, problems: Sequence[str] = ()) -> None:
        self.summary, self.problems = summary, list(problems)
        lines = [summary, *self.problems[:SHOWN_PROBLEMS]]
        hidden = len(self.problems) - SHOWN_PROBLEMS
        if hidden > 0:
            lines.append(f"… and {hidden:,} more")
        super().__init__("\n".join(lines))


class GateError(TrainingError):
    """An export broke a rule of the gate, so nothing is published.

    Args:
        rule: the id of the broken rule.
        message: what was measured, and the limit.
    """

    def __init__(self, rule: str, message: str) -> None:
        self.rule = rule
        super().__init__(f"{rule}: {message}")


class NotFiniteError(TrainingError):
    """The loss or a gradient is not a number; the message names the rows of the batch."""


class StoppedError(TrainingError):
    """A signal ended the run between two steps; its checkpoint is written.

    Args:
        message: where it stands and how it goes on.
        exit_code: 128 + the signal.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(message)


class DivergedError(TrainingError):
    """The loss went up and stays there; the message gives the limit and the rows of the last batch."""
