"""The picture of a training: what is on it, and that its files are the same every time."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import pytest

from tinygrad_bp.view import draw_curves, write_curves

HISTORY = [
    {"epoch": 1, "lr": 0.1, "loss": 2.0, "accuracy": 0.5, "val_loss": 1.5, "val_accuracy": 0.6, "seconds": 0.1},
    {"epoch": 2, "lr": 0.1, "loss": 0.1, "accuracy": 0.9, "val_loss": 0.2, "val_accuracy": 0.8, "seconds": 0.1},
]


def lines(axes):
    """The curves by the first word of their labels."""
    return {line.get_label().split(":")[0]: list(line.get_ydata()) for line in axes.lines if line.get_label()[0] != "_"}


def test_two_panels_with_title_labels_and_the_numbers():
    figure = draw_curves(HISTORY, "digits")
    loss, accuracy = figure.axes
    assert figure.get_suptitle() == "digits"
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "epoch (numbers: after the last)"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
    assert lines(loss) == {"training": [2.0, 0.1], "validation": [1.5, 0.2]}
    assert lines(accuracy) == {"training": [0.5, 0.9], "validation": [0.6, 0.8]}
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["training: 90.00%", "validation: 80.00%"]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training: 0.1", "validation: 0.2"]


def test_training_and_validation_are_told_apart_without_colours():
    training, validation = draw_curves(HISTORY).axes[0].lines
    assert not training.is_dashed()
    assert validation.is_dashed()
    weights = (0.299, 0.587, 0.114)
    dark, light = (np.dot(weights, matplotlib.colors.to_rgb(line.get_color())) for line in (training, validation))
    assert light - dark > 0.25
    assert training.get_marker() != validation.get_marker()  # of one epoch there are only marks
    assert training.get_markevery() == validation.get_markevery() == [-1]


@pytest.mark.parametrize("best", [None, 500])
@pytest.mark.parametrize("size", [1e-7, 1.0, 1e7])
def test_at_300_pixels_it_can_be_read_and_nothing_is_cut_or_covered(size, best):
    history = [{"epoch": 100 * n, **dict.fromkeys(["loss", "val_loss", "mae"], size * n / 7)} for n in range(1, 6)]
    history = [record | {"val_mae": record["mae"], "accuracy": 1.0, "val_accuracy": 0.98765} for record in history]
    figure = draw_curves(history, best=best)
    figure.draw_without_rendering()
    for text in figure.findobj(matplotlib.text.Text):
        assert text.get_fontsize() / 72 * 300 / figure.get_figwidth() >= 9, text  # pixels
    box = figure.get_tightbbox()
    assert min(box.x0, box.y0) >= 0.0 and box.x1 <= figure.get_figwidth() and box.y1 <= figure.get_figheight()
    legends = [axes.get_legend().get_window_extent() for axes in figure.axes]
    others = [axes.bbox for axes in figure.axes]
    others += [text.get_window_extent() for axes in figure.axes if (text := axes.yaxis.get_offset_text()).get_text()]
    assert not [other for other in others for legend in legends if other.overlaps(legend)]


@pytest.mark.parametrize("values", [(0.5, 1.0), (1.0, 1.0), (0.998, 0.9999)])
def test_no_accuracy_is_above_100_percent(values):
    history = [{"epoch": k, "accuracy": value} for k, value in enumerate(values, 1)]
    (axes,) = draw_curves(history).axes
    bottom, top = axes.get_ylim()
    assert bottom < min(values) <= max(values) < top
    assert all(tick <= 1.0 for tick in axes.get_yticks() if tick <= top)


@pytest.mark.parametrize(
    ("first", "labels"), [(2.0, ["0.1", "0.2", "0.5", "1", "2"]), (500.0, ["0.1", "1", "10", "100"])]
)
def test_the_logarithmic_axis_has_plain_numbers(first, labels):
    (axes,) = draw_curves([{"epoch": 1, "loss": first}, {"epoch": 2, "loss": 0.1}]).axes
    axes.figure.draw_without_rendering()
    bottom, top = axes.get_ylim()
    assert [t.label1.get_text() for t in axes.yaxis.get_major_ticks() if bottom <= t.get_loc() <= top] == labels


def test_only_what_was_measured_is_drawn():
    figure = draw_curves([{"epoch": 1, "loss": 2.0, "seconds": 0.1}])
    assert [lines(axes) for axes in figure.axes] == [{"training": [2.0]}]
    figure = draw_curves([{"epoch": 1, "loss": 2.0, "val_r2": 0.5, "note": "text"}])
    assert [(axes.get_ylabel(), lines(axes)) for axes in figure.axes] == [
        ("loss", {"training": [2.0]}),
        ("r2", {"validation": [0.5]}),
    ]


def test_there_are_at_most_three_panels():
    record = {"epoch": 1, "lr": 0.1, "loss": 1.0, "mae": 2.0, "rmse": 3.0, "r2": 0.1, "val_loss": 1.0}
    assert [axes.get_ylabel() for axes in draw_curves([record]).axes] == ["loss", "mae", "rmse"]


def test_the_best_epoch_is_marked():
    for axes in draw_curves(HISTORY, best=2).axes:
        (mark,) = [line for line in axes.lines if line.get_label() == "best: epoch 2"]
        assert list(mark.get_xdata()) == [2, 2]


@pytest.mark.parametrize(
    ("first", "last", "scale"), [(2.0, 0.1, "log"), (2.0, 0.3, "linear"), (2.0, 0.0, "linear"), (-0.1, 5.0, "linear")]
)
def test_the_loss_is_logarithmic_where_that_shows_more(first, last, scale):
    (axes,) = draw_curves([{"epoch": 1, "loss": first}, {"epoch": 2, "loss": last}]).axes
    assert axes.get_yscale() == scale


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_gaps(tmp_path, value):
    history = [*HISTORY, {"epoch": 3, "loss": 0.1, "val_loss": value}]
    figure = draw_curves(history)
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].get_ylim()[1] < 5.0
    write_curves([{"epoch": 1, "loss": value}], tmp_path / "curve")


def test_the_files_are_the_same_every_time_whatever_the_user_has_set(tmp_path):
    write_curves(HISTORY, tmp_path / "a", "costs $x_{$", best=1)
    with matplotlib.rc_context({"axes.facecolor": "black", "svg.hashsalt": None, "savefig.dpi": 10}):
        before = dict(matplotlib.rcParams)
        write_curves(HISTORY, str(tmp_path / "b"), "costs $x_{$", best=1)
        assert dict(matplotlib.rcParams) == before
    png, svg = (tmp_path / "a.png").read_bytes(), (tmp_path / "a.svg").read_bytes()
    assert (tmp_path / "b.png").read_bytes() == png
    assert (tmp_path / "b.svg").read_bytes() == svg
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(png[16:20]) == 720  # pixels wide
    assert svg.rstrip().endswith(b"</svg>")
    for junk in (b"dc:date", b"Matplotlib", b"Software"):
        assert junk not in png + svg
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg", "b.png", "b.svg"]


def test_an_empty_history_is_refused(tmp_path):
    for draw in (draw_curves, lambda history: write_curves(history, tmp_path / "curve")):
        with pytest.raises(ValueError, match=r"draw_curves: the history is empty\. Pass the records that fit\(\) ret"):
            draw([])
    assert list(tmp_path.iterdir()) == []
