"""The picture of a training: what is on it, and that a file of it is one."""

from __future__ import annotations

import pytest

from tinygrad_bp.view import draw_curves

HISTORY = [
    {"epoch": 1, "loss": 2.0, "accuracy": 0.5, "test_loss": 1.5, "test_accuracy": 0.6, "seconds": 0.1},
    {"epoch": 2, "loss": 0.1, "accuracy": 0.9, "test_loss": 0.2, "test_accuracy": 0.8, "seconds": 0.1},
]


def lines(axes):
    """The curves by the first word of their labels."""
    return {line.get_label().split(":")[0]: list(line.get_ydata()) for line in axes.lines if line.get_label()[0] != "_"}


def test_two_panels_with_title_labels_and_the_numbers():
    figure = draw_curves(HISTORY, "digits")
    loss, accuracy = figure.axes
    assert figure.get_suptitle() == "digits"
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch", "epoch"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
    assert lines(loss) == {"training": [2.0, 0.1], "test": [1.5, 0.2]}
    assert lines(accuracy) == {"training": [0.5, 0.9], "test": [0.6, 0.8]}
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["training: 90.00%", "test: 80.00%"]


def test_only_what_was_measured_is_drawn():
    figure = draw_curves([{"epoch": 1, "loss": 2.0, "seconds": 0.1}])
    assert [lines(axes) for axes in figure.axes] == [{"training": [2.0]}]


@pytest.mark.parametrize(
    ("first", "last", "scale"), [(2.0, 0.1, "log"), (2.0, 0.3, "linear"), (2.0, 0.0, "linear"), (-0.1, 5.0, "linear")]
)
def test_the_loss_is_logarithmic_where_that_shows_more(first, last, scale):
    (axes,) = draw_curves([{"epoch": 1, "loss": first}, {"epoch": 2, "loss": last}]).axes
    assert axes.get_yscale() == scale


def test_it_is_written_as_a_picture_without_a_screen(tmp_path):
    draw_curves(HISTORY).savefig(tmp_path / "curve.png")
    content = (tmp_path / "curve.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(content[16:20]) == 1248  # pixels wide


def test_an_empty_history_is_refused():
    with pytest.raises(ValueError, match=r"draw_curves: the history is empty\. Pass the records that fit\(\) returned"):
        draw_curves([])
