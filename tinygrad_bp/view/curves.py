"""The picture of a training run: loss, and accuracy where there is one, epoch by epoch.

`draw_curves` turns the history that `fit` returns into a matplotlib figure, which Jupyter shows and `savefig` writes.
It draws on a figure of its own: no window, no global state of pyplot, no display needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_curves"]

_TRAINING, _TEST = "#3b6ea8", "#d1603d"


def draw_curves(history: Sequence[Mapping[str, Any]], title: str = "Training") -> Figure:
    """Loss and accuracy against the epoch, on the training and the test rows.

    The loss has a logarithmic axis where it spans more than a factor of ten.

    Parameters
    ----------
    history
        The records `fit` returns; one panel for loss, a second where they have an accuracy.

    Raises
    ------
    ValueError
        The history is empty.
    ModuleNotFoundError
        matplotlib (extra `cli`) is not installed.

    Examples
    --------
    >>> figure = draw_curves([{"epoch": 1, "loss": 0.9}, {"epoch": 2, "loss": 0.5}])
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss']
    """
    if not history:
        raise ValueError("draw_curves: the history is empty. Pass the records that fit() returned.")
    from matplotlib.figure import Figure

    metrics = [metric for metric in ("loss", "accuracy") if metric in history[0]]
    figure = Figure(figsize=(5.2 * len(metrics), 4.0), dpi=120, layout="constrained")
    figure.suptitle(title, fontweight="bold")
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        _panel(axes, history, metric)
    return figure


def _panel(axes: Axes, history: Sequence[Mapping[str, Any]], metric: str) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    epochs = [record["epoch"] for record in history]
    curves = {
        (name, colour): [record[key] for record in history]
        for name, key, colour in (("training", metric, _TRAINING), ("test", f"test_{metric}", _TEST))
        if key in history[0]
    }
    for (name, colour), values in curves.items():
        last = f"{values[-1]:.2%}" if metric == "accuracy" else f"{values[-1]:.4f}"
        axes.plot(epochs, values, color=colour, linewidth=1.8, label=f"{name}: {last}")
        axes.plot(epochs[-1], values[-1], "o", color=colour, markersize=4)
    if metric == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    elif 0 < 10 * min(map(min, curves.values())) < max(map(max, curves.values())):
        axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel(metric)
    axes.set_xlim(0, 1.03 * epochs[-1])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.grid(True, which="both", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, title="after the last epoch", loc="best")
