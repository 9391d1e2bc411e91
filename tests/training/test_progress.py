"""Progress moves on a terminal and is plain lines elsewhere."""

import io

from rich.console import Console

from training.progress import Progress


class SteppingClock:
    """Seconds that pass by `step_s` each time somebody looks."""

    def __init__(self, step_s: float) -> None:
        self.now_s = 0.0
        self.step_s = step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def lines_of(step_s: float, *, terminal: bool = False) -> list[str]:
    """What a bar of four units and a step print when each look at the clock takes `step_s`."""
    out = io.StringIO()
    progress = Progress(Console(file=out, force_terminal=terminal, width=200), clock=SteppingClock(step_s))
    with progress.bar("epoch 1/2", 4) as bar:
        for number in range(4):
            bar.advance(note=f"loss {number}")
    with progress.step("export"):
        pass
    return out.getvalue().splitlines()


def test_a_quick_bar_is_one_line() -> None:
    assert lines_of(0.1) == ["epoch 1/2: 4/4  loss 3", "export …", "export: 0.1 s"]


def test_a_slow_bar_speaks_on_the_way() -> None:
    assert lines_of(3.0)[:3] == ["epoch 1/2: 2/4  0:09 left  loss 1", "epoch 1/2: 4/4  loss 3", "export …"]


def test_a_terminal_shows_a_bar() -> None:
    shown = "\n".join(lines_of(0.1, terminal=True))

    assert "━" in shown
    assert "4/4" in shown
    assert "\x1b[" in shown
