"""Pictures: readers of recipes and of numbers, on which nothing below depends.

Here: the curves of a training run.
"""

from .curves import draw_curves, write_curves

__all__ = ["draw_curves", "write_curves"]
