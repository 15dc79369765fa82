"""The picture of a training run: loss and metrics, epoch by epoch, in training and in validation.

`draw_curves` turns the history that `fit` returns into a matplotlib figure, which Jupyter shows and `savefig` writes.
It draws on a figure of its own: no window, no global state of pyplot, no display needed. `write_curves` writes it as
.png and .svg, which are the same bytes for the same history. The picture is narrow, so that it can be read where it is
300 pixels wide, and nothing in it is told by colour alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import isfinite, nan
from numbers import Real
from typing import TYPE_CHECKING, Any

from ..io.atomic import in_place_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_curves", "write_curves"]

History = Sequence[Mapping[str, Any]]

_PANELS = 3
_NO_CURVES = {"epoch", "lr", "seconds"}
# told apart without colours by the dashes, by how dark they are, and by the mark at the end
_TRAINING: dict[str, Any] = {"color": "#1f4e8c", "marker": "o", "markersize": 5}
_VALIDATION: dict[str, Any] = {"color": "#e07b39", "marker": "D", "markerfacecolor": "white", "markersize": 6}
_VALIDATION["linestyle"] = (0, (3.5, 1.5))


def draw_curves(history: History, title: str = "Training", best: int | None = None) -> Figure:
    """Loss and metrics against the epoch, one below the other, at most three: training solid, validation dashed.

    The loss has a logarithmic axis where it spans more than a factor of ten.

    Parameters
    ----------
    history
        The records `fit` returns: `loss` and whatever else was measured in training, ``val_...`` in validation.
    best
        An epoch to mark: that of the weights that were kept.

    Raises
    ------
    ValueError
        The history is empty.
    ModuleNotFoundError
        matplotlib (extra `cli`) is not installed.

    Examples
    --------
    >>> figure = draw_curves([{"epoch": 1, "loss": 0.9, "f1": 0.2}, {"epoch": 2, "loss": 0.5, "f1": 0.6}])
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss', 'f1']
    """
    if not history:
        raise ValueError("draw_curves: the history is empty. Pass the records that fit() returned.")
    from matplotlib.figure import Figure

    measured = dict.fromkeys(
        key.removeprefix("val_") for record in history for key, value in record.items() if isinstance(value, Real)
    )
    metrics = [metric for metric in measured if metric not in _NO_CURVES][:_PANELS]
    figure = Figure(figsize=(4.0, 0.6 + 2.5 * len(metrics)), dpi=180)
    figure.set_layout_engine("constrained", h_pad=0.08)
    figure.suptitle(_literally(title), fontweight="bold")
    for axes, metric in zip(figure.subplots(len(metrics), 1, squeeze=False)[:, 0], metrics, strict=True):
        _panel(axes, history, metric, best)
    axes.set_xlabel("epoch (numbers: after the last)")
    return figure


def write_curves(
    history: History, path: str | os.PathLike[str], title: str = "Training", best: int | None = None
) -> None:
    """Write `draw_curves` to ``path.png`` and ``path.svg``; the same history gives the same bytes.

    Bytes may differ from one version of matplotlib to another. Settings of the user's (matplotlibrc) change nothing.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_curves([{"epoch": 1, "loss": 0.9}], f"{folder}/curve")
    ...     sorted(os.listdir(folder))
    ['curve.png', 'curve.svg']
    """
    import matplotlib
    from matplotlib import style

    with style.context("default"), matplotlib.rc_context({"svg.hashsalt": "tinygrad_bp"}):
        figure = draw_curves(history, title, best)
        for kind, unwanted in (("png", {"Software": None}), ("svg", {"Creator": None, "Date": None})):
            with in_place_of(f"{os.fspath(path)}.{kind}") as file:
                figure.savefig(file, format=kind, metadata=unwanted)


def _panel(axes: Axes, history: History, metric: str, best: int | None) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, PercentFormatter, StrMethodFormatter
    from matplotlib.transforms import blended_transform_factory

    epochs = [record["epoch"] for record in history]
    finite: list[float] = []
    for name, key, look in (("training", metric, _TRAINING), ("validation", f"val_{metric}", _VALIDATION)):
        if any(key in record for record in history):
            values = [float(record.get(key, nan)) for record in history]
            last = f"{values[-1]:.2%}" if metric == "accuracy" else f"{values[-1]:.4g}"
            axes.plot(epochs, values, label=f"{name}: {last}", linewidth=1.8, markevery=[-1], clip_on=False, **look)
            finite += filter(isfinite, values)
    if best is not None:
        axes.axvline(best, color="0.3", linewidth=1.2, linestyle=":", label=f"best: epoch {best}", zorder=1)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    if metric == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        bottom, top = axes.get_ylim()
        axes.set_ylim(bottom, min(top, 1.0 + 0.03 * (1.0 - bottom)))
    elif metric == "loss" and finite and 0 < 10 * min(finite) < max(finite):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if max(finite) < 1000 * min(finite) else (1.0,)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))  # set_yscale has put another
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel(_literally(metric))
    axes.set_xlim(0, 1.03 * epochs[-1])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        bbox_transform=blended_transform_factory(axes.figure.transFigure, axes.transAxes),  # left in the figure, above
        borderaxespad=0.3,
        ncols=2,
        handlelength=2.4,
        columnspacing=1.0,
        fontsize=9,
        frameon=False,
    )


def _literally(text: str) -> str:
    """Text in which a dollar sign is one, and does not begin a formula."""
    return text.replace("$", r"\$")
