"""Recurrent layers: what they return, how they begin, what they refuse; and that compiled they are the same."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.differences import close
from tinygrad_bp import nn, ops

LAYERS = [nn.RNN, nn.LSTM, nn.GRU]
CELLS = {nn.RNN: nn.RNNCell, nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell}
GATES = {nn.RNN: 1, nn.LSTM: 4, nn.GRU: 3}


def real(*shape):
    return np.random.default_rng(shape).normal(size=shape)


def h_of(states):
    return states[0] if isinstance(states, tuple) else states


# ---- what they compute -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", LAYERS)
def test_a_layer_is_its_cell_step_by_step(make):
    layer, cell = make(3, 4), CELLS[make](3, 4)
    cell.load_state_dict({name.removesuffix("_l0"): array for name, array in layer.state_dict().items()})
    x, states, hs = real(5, 2, 3), None, []
    for x_t in x:
        states = cell(x_t, states)
        hs.append(h_of(states).data)
    output, last = layer(x)
    assert close(output.data, np.stack(hs), 1e-14)
    for a, b in zip(last, states) if make is nn.LSTM else [(last, states)]:
        assert close(a.data[0], b.data, 1e-14)


@pytest.mark.parametrize("make", LAYERS)
def test_the_second_direction_reads_backwards(make):
    both, one = make(3, 4, bidirectional=True), make(3, 4)
    x = real(5, 2, 3)
    one.load_state_dict({n.removesuffix("_reverse"): a for n, a in both.state_dict().items() if n.endswith("_reverse")})
    output, last = both(x)
    backwards, first = one(x[::-1])
    assert close(output.data[..., 4:], backwards.data[::-1], 1e-14)
    assert close(h_of(last).data[1], h_of(first).data[0], 1e-14)


@pytest.mark.parametrize("make", LAYERS)
def test_a_sequence_split_in_two_continues_from_the_states(make):
    layer = make(3, 4, num_layers=2)
    x = real(5, 2, 3)
    whole, last = layer(x)
    _, states = layer(x[:2])
    rest, ends = layer(x[2:], states)
    assert close(rest.data, whole.data[2:], 1e-14)
    assert close(h_of(ends).data, h_of(last).data, 1e-14)


@pytest.mark.parametrize("make", LAYERS)
def test_batch_first_and_no_batch(make):
    layer, first = make(3, 4, bidirectional=True), make(3, 4, batch_first=True, bidirectional=True)
    first.load_state_dict(layer.state_dict())
    x = real(5, 2, 3)
    output, last = layer(x)
    swapped, same = first(x.swapaxes(0, 1))
    assert close(swapped.data, output.data.swapaxes(0, 1), 1e-14)
    assert close(h_of(same).data, h_of(last).data, 1e-14)
    for each in (layer, first):
        alone, states = each(x[:, 1])
        assert close(alone.data, output.data[:, 1], 1e-14)
        assert close(h_of(states).data, h_of(last).data[:, 1], 1e-14)


@pytest.mark.parametrize("make", LAYERS)
def test_parameters_have_names_shapes_and_first_values_of_pytorch(make):
    bp.manual_seed(1)
    layer, rows = make(3, 16, num_layers=2, bidirectional=True), GATES[make] * 16
    kinds = {"weight_ih": (rows, 3), "weight_hh": (rows, 16), "bias_ih": (rows,), "bias_hh": (rows,)}
    upper = kinds | {"weight_ih": (rows, 32)}
    expected = [
        (f"{kind}_l{k}{suffix}", shape)
        for k, shapes in enumerate([kinds, upper])
        for suffix in ("", "_reverse")
        for kind, shape in shapes.items()
    ]
    assert [(name, p.shape) for name, p in layer.named_parameters()] == expected
    for p in layer.parameters():
        assert np.abs(p.data).max() <= 0.25
        assert np.abs(p.data).max() > 0.2
    assert [name for name, _ in make(3, 4, bias=False).named_parameters()] == ["weight_ih_l0", "weight_hh_l0"]


@pytest.mark.parametrize("make", LAYERS)
def test_dropout_is_between_layers_in_training_only(make):
    layer = make(3, 50, num_layers=2, dropout=0.25)
    one = make(3, 50, dropout=0.0)
    one.load_state_dict({name: array for name, array in layer.state_dict().items() if name.endswith("_l0")})
    x = real(4, 2, 3)
    bp.manual_seed(1)
    first, states = layer(x)
    assert not close(first.data, layer(x)[0].data, 1e-3)
    assert close(h_of(states).data[0], h_of(one(x)[1]).data[0], 1e-14)  # what is below is not touched
    bp.manual_seed(1)
    assert np.array_equal(first.data, layer(x)[0].data)
    layer.eval()
    plain = make(3, 50, num_layers=2)
    plain.load_state_dict(layer.state_dict())
    assert np.array_equal(layer(x)[0].data, plain(x)[0].data)
    layer.train().dropout = 1.0
    nothing = np.zeros_like(real(4, 2, 50))
    last = make(50, 50)
    last.load_state_dict({n[:-1] + "0": a for n, a in layer.state_dict().items() if n.endswith("_l1")})
    assert np.array_equal(layer(x)[0].data, last(nothing)[0].data)


def test_dropout_without_a_second_layer_is_told():
    with pytest.warns(UserWarning, match=r"^GRU: dropout 0.5 is between layers, and there is one"):
        nn.GRU(3, 4, dropout=0.5)


@pytest.mark.parametrize("make", LAYERS)
def test_an_empty_batch_gives_an_empty_output_and_gradients_of_zero(make):
    layer = make(3, 4)
    output, last = layer(np.zeros((5, 0, 3)))
    assert output.shape == (5, 0, 4)
    assert h_of(last).shape == (1, 0, 4)
    output.sum().backward()
    assert not any(p.grad.data.any() for p in layer.parameters())


@pytest.mark.parametrize("make", [*LAYERS, *CELLS.values()])
def test_float32_stays_float32(make):
    layer = make(3, 4, dtype=np.float32)
    x = bp.Tensor(real(2, 3), dtype=np.float32, requires_grad=True)
    y = layer(x)
    while isinstance(y, tuple):
        y = y[-1]
    assert y.dtype == np.float32
    y.sum().backward()
    assert {t.grad.dtype for t in (x, *layer.parameters())} == {np.dtype(np.float32)}


def test_large_gates_saturate_without_a_warning():
    z = np.full((2, 1, 4), 1e3) * np.array([1.0, -1.0, 1.0, 1.0])
    y = ops.lstm(z, np.zeros((4, 1)), 0.0, np.zeros((1, 1)), np.ones((1, 1)))
    assert np.array_equal(y[2:, -1, 0, 0], [1.0, 0.0, 1.0, 1.0])
    assert np.array_equal(y[:2, -1, 0, 0], [np.tanh(1.0), 1.0])


def test_every_output_of_a_layer_is_checked_also_the_nested_ones():
    bp.manual_seed(0)
    report = bp.check_layer(nn.LSTM(2, 1), real(2, 1, 2), order=2)
    assert report.status == "PASS"
    assert {"y[0]", "y[1][0]", "y[1][1]"} <= {
        output for output, _ in bp.check_layer(nn.LSTM(2, 1), real(2, 1, 2)).blocks
    }


# ---- compiled --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", LAYERS)
def test_a_compiled_training_step_equals_the_eager_one(make):
    def training():
        bp.manual_seed(0)
        layer, top = make(3, 4, num_layers=2, dropout=0.5), nn.Linear(4, 2)
        optimizer = bp.optim.SGD([*layer.parameters(), *top.parameters()], lr=0.1)

        def step(x, y):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(top(layer(x)[0]), y)
            loss.backward()
            optimizer.step()
            return loss

        return step, optimizer

    (eager, _), (function, _) = training(), training()
    compiled = bp.compile(function)
    x, y = real(5, 2, 3), real(5, 2, 2)
    bp.manual_seed(1)
    wanted = [eager(x, y).item() for _ in range(4)]
    bp.manual_seed(1)
    assert close([compiled(x, y).item() for _ in range(4)], wanted, 1e-13)
    assert len(compiled.recordings) == 1


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.LSTM(0, 4), ValueError, r"^LSTM: input_size is 0\. Pass numbers >= 1\.$"),
        (lambda: nn.GRU(3, 4.0), TypeError, r"^GRU: hidden_size is 4\.0\. Pass an integer\.$"),
        (lambda: nn.RNN(3, 4, 0), ValueError, r"^RNN: num_layers is 0\. Pass numbers >= 1\.$"),
        (lambda: nn.RNN(3, True), TypeError, r"^RNN: hidden_size is True\. Pass an integer\.$"),
        (lambda: nn.LSTM(3, 4, 2, dropout=1.5), ValueError, r"^LSTM: dropout is 1\.5\. Pass a number from 0 to 1\.$"),
        (lambda: nn.LSTM(3, 4, 2, dropout=float("nan")), ValueError, r"^LSTM: dropout is nan\. "),
        (lambda: nn.LSTM(3, 4, 2, dropout="0"), TypeError, r"^LSTM: dropout is '0', a str\. Pass a number\."),
        (lambda: nn.RNN(3, 4, nonlinearity="selu"), ValueError, r"^RNN: nonlinearity is 'selu'\. Choose \"tanh\" or "),
        (lambda: nn.RNNCell(3, 4, nonlinearity="x"), ValueError, r"^RNNCell: nonlinearity is 'x'\. Choose "),
    ],
)
def test_impossible_settings_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "args", "error", "message"),
    [
        (nn.LSTM, [np.zeros(3)], ValueError, r"^LSTM: input \(3,\) has the wrong number of axes\. Pass \(steps, "),
        (nn.GRU, [np.zeros((5, 2, 4))], ValueError, r"^GRU: input \(5, 2, 4\) has 4 entries a step, the "),
        (nn.RNN, [np.zeros((0, 2, 3))], ValueError, r"^RNN: input \(0, 2, 3\) has no steps\. Pass at least one\.$"),
        (nn.RNN, ["abc"], TypeError, r"^RNN: the input is a str\. Pass a Tensor"),
        (nn.GRU, [np.zeros((5, 2, 3)), np.zeros((1, 3, 4))], ValueError, r"^GRU: h_0 has shape \(1, 3, 4\)\. Pass "),
        (nn.GRU, [np.zeros((5, 3)), np.zeros((1, 1, 4))], ValueError, r"^GRU: h_0 has shape \(1, 1, 4\)\. "),
        (nn.GRU, [np.zeros((5, 2, 3)), (np.zeros((1, 2, 4)),)], TypeError, r"^GRU: hx is a tuple; there "),
        (nn.LSTM, [np.zeros((5, 2, 3)), np.zeros((1, 2, 4))], TypeError, r"^LSTM: hx is no pair of states\. "),
        (nn.LSTM, [np.zeros((5, 2, 3)), (np.zeros((1, 2, 4)), np.zeros((2, 4)))], ValueError, r"^LSTM: c_0 has "),
        (nn.LSTMCell, [np.zeros((2, 4))], ValueError, r"^LSTMCell: input \(2, 4\) has 4 entries a step, the "),
        (nn.GRUCell, [np.zeros((1, 2, 3))], ValueError, r"^GRUCell: input \(1, 2, 3\) has the wrong number of axes"),
        (nn.GRUCell, [np.zeros(3), np.zeros((1, 4))], ValueError, r"^GRUCell: h_0 has shape \(1, 4\)\. Pass \(4,\)"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_refused(layer, args, error, message):
    with pytest.raises(error, match=message):
        layer(3, 4)(*args)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(5, 2, 8), (7, 2), (8,), (2, 2), (2, 2)], r"^lstm: weight \(7, 2\) is not \(4 \* n, n\) for "),
        ([(5, 2, 7), (8, 2), (8,), (2, 2), (2, 2)], r"^lstm: z \(5, 2, 7\) does not fit weight \(8, 2\)\. "),
        ([(5, 2, 8), (8, 2), (7,), (2, 2), (2, 2)], r"^lstm: bias \(7,\) does not fit weight \(8, 2\)\. "),
        ([(0, 2, 8), (8, 2), (8,), (2, 2), (2, 2)], r"^lstm: a sequence of 0 steps has no last state\. "),
        ([(5, 2, 8), (8, 2), (8,), (2, 2), (1, 2)], r"^lstm: a state before is \(1, 2\)\. Pass \(batch, n\), "),
    ],
)  # fmt: skip
def test_a_row_refuses_shapes_that_do_not_fit(shapes, message):
    with pytest.raises(ValueError, match=message):
        ops.lstm(*map(np.zeros, shapes))


def test_a_row_refuses_a_nonlinearity_it_has_not():
    with pytest.raises(ValueError, match=r"^rnn: nonlinearity is 'relu6'\. Choose \"tanh\" or \"relu\"\.$"):
        ops.rnn(np.zeros((1, 1, 1)), np.zeros((1, 1)), 0.0, np.zeros((1, 1)), "relu6")
