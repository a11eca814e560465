"""What a training says: a bar on a terminal, and a line an epoch in the log."""

import math
import sys
from collections.abc import Mapping

from tqdm.auto import tqdm

__all__ = ["bar", "drawable", "epoch_line", "step_line"]


def bar(steps: int, *, wanted: bool) -> tqdm:
    """A bar of training steps, where it is wanted and there is a terminal to draw it on."""
    return tqdm(total=steps, unit="step", disable=not (wanted and drawable()))


def step_line(epoch: int, means: list[float], validation: Mapping[str, float], images_per_second: float) -> str:
    """Progress so far in an epoch: means of loss, distortion and rate, and the last validation's loss."""
    loss, distortion, rate = means
    checked = f" validation {validation['validation_loss']:.6g}" if validation else ""
    return (
        f"epoch {epoch} loss {loss:.6g} rate {rate:.4g} distortion {distortion:.6g}{checked} "
        f"{images_per_second:.0f} images/s"
    )


def epoch_line(epoch: int, epochs: int, row: Mapping[str, float]) -> str:
    """An epoch's scalars."""
    names = ("loss", "rate", "distortion", "validation_loss", "learning_rate", "gradient_norm", "skipped")
    said = [f"{name} {row[name]:.6g}" for name in names if name in row and not math.isnan(row[name])]
    return f"epoch {epoch}/{epochs}: {', '.join(said)}, {row['images_per_second']:.0f} images/s"


def drawable() -> bool:
    """A terminal, or a notebook, where tqdm draws a widget."""
    return "ipykernel" in sys.modules or (hasattr(sys.stderr, "isatty") and sys.stderr.isatty())
