"""What keeps a net from learning, found in the numbers of one step: a small function for each thing that goes wrong.

Every one of them is certain, or its bound is far from what healthy nets show, at the beginning or in training: what is
said is worth acting upon. That a net is not trained yet is no fault; `still_guessing` is for those that should be.
Nothing is known here that does not show in a step: not the learning rate, not the rows that were not given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from .step import Array, Finding, Layer, Step

__all__ = ["findings", "first_active", "flat_units", "still_guessing"]

_ENOUGH, _MANY = 8, 32  # rows, from which something may be said of all rows, or of most units
_DEAD = 0.75  # of the units of a layer: half of them is common in healthy nets
_SATURATED = 0.6  # of the activations of a layer
_FLAT = {"Sigmoid": 4.4, "Tanh": 2.2}  # the abs(z) from which the slope is below a twentieth of its greatest
_WRONG = 0.1  # of the rows
_RATIO = 1e3  # between the errors of the first and the last layer
_STEEP = 1e3  # the length of the gradient, in lengths of the parameters
_FAINT = 1e-3  # root mean square of parameters, below which an update may well be longer than they are
_LARGE, _SMALL = 20.0, 1e-3  # root mean squares of inputs
_TARGETS = 100.0  # root mean square of targets
_ROUNDING = 1e-13  # of the greatest: what is less may be nothing
_SAME = 1e-4  # the spread of an output over the rows, of its size

_PASSIVE = {"Dropout", "Flatten", "LastStep", "MaxPool1d", "MaxPool2d", ""}
_OF_LABELS = {"CrossEntropyLoss", "NLLLoss"}
_OF_CHANCES = {"BCELoss", "BCEWithLogitsLoss"}
_OF_NUMBERS = {"HuberLoss", "L1Loss", "MSELoss", "QuadraticLoss", "SmoothL1Loss"}
_RANGES = {
    "ReLU": (0.0, np.inf),
    "Sigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Softplus": (0.0, np.inf),
    "Softsign": (-1.0, 1.0),
    "Tanh": (-1.0, 1.0),
}


def findings(step: Step) -> list[Finding]:
    """What is wrong in the step of a mini-batch, the worst first; an empty list where nothing is.

    Of numbers that are not finite only the first is told, and what may have caused it.
    """
    broken = list(_not_finite(step))
    rules = _CAUSES if broken else (*_CAUSES, *_SYMPTOMS)
    with np.errstate(all="ignore"):
        return broken + [finding for rule in rules for finding in rule(step)]


def still_guessing(step: Step, epoch: int) -> Iterator[Finding]:
    """What to say of a net that was trained and whose loss is that of guessing."""
    chance, loss = _chance(step), _mean_loss(step)
    if epoch and chance is not None and loss is not None and 0.97 * chance[0] < loss:
        yield Finding(
            "",
            "chance",
            f"After epoch {epoch} the loss is {loss:.4g}; {chance[1]} gives {chance[0]:.4g}. Nothing was learnt: see "
            "what else is found here; then try another learning rate, ten times smaller or larger.",
        )


# ---- numbers that are none ------------------------------------------------------------------------------------------


def _not_finite(step: Step) -> Iterator[Finding]:
    """The first place, in the order of the step, where a number is not finite."""
    places = [("", "the inputs x", step.x), ("", "the targets y", step.y)]
    for layer in step.layers:
        places += [(layer.path, f"the parameter {name}", value) for name, value in layer.parameters.items()]
        places += [(layer.path, "z, what the layer gives,", layer.z), (layer.path, layer.activation, layer.a)]
    places += [("", "the output", step.output), ("", "the loss", np.array(step.loss))]
    for layer in reversed(step.layers):
        places.append((layer.path, "delta", layer.delta))
        places += [(layer.path, f"the gradient of {name}", value) for name, value in layer.gradients.items()]
    for path, what, values in places:
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            cure = "Look for a log, division, sqrt or exp of what it must not be given; lower the learning rate."
            if what.startswith("the parameter"):
                cure = "An update has ruined it: lower the learning rate, or clip the gradients, and begin anew."
            elif what in ("the inputs x", "the targets y"):
                cure = "Clean the data: drop or fill in such rows."
            place = f"at {bad[0].tolist()} {values[tuple(bad[0])]}"
            text = f"The first numbers that are not finite: {what} has {len(bad)} of {values.size}, {place}. {cure}"
            yield Finding(path, "nonfinite", text)
            return


# ---- causes: data and what the net is made of -----------------------------------------------------------------------


def _labels(step: Step) -> Iterator[Finding]:
    if len(step.y) >= _ENOUGH and (step.y == step.y[:1]).all():
        value = step.y[0].tolist() if step.y[0].size <= 10 else "the same"
        text = f"All {len(step.y)} rows of y are {value}: the net learns to say it always."
        yield Finding("", "labels", f"{text} Shuffle the rows, or look at how y is made.")


def _inputs(step: Step) -> Iterator[Finding]:
    if len(step.x) >= _ENOUGH and (step.x == step.x[:1]).all():
        text = f"All {len(step.x)} rows of x are the same: nothing tells them apart. Look at how x is made."
        yield Finding("", "inputs", text)


def _input_scale(step: Step) -> Iterator[Finding]:
    if any(layer.kind == "Embedding" for layer in step.layers) or "Norm" in "".join(x.kind for x in step.layers[:1]):
        return
    columns = np.sqrt(np.mean(np.square(step.x.reshape(len(step.x), -1), dtype=np.float64), axis=0))
    if not columns.size or not np.isfinite(columns).all():
        return
    most = int(columns.argmax())
    if columns[most] > _LARGE:
        where = f"Column {most} of x has numbers around {columns[most]:.3g}, the middle one {np.median(columns):.3g}"
        cure = "Scale them: (x - mean) / deviation column by column (scale = true in [data]), pixels / 255."
        yield Finding("", "scale", f"{where}: units saturate, steps overshoot. {cure}")
    elif columns[most] < _SMALL:
        where = f"No column of x has numbers above about {columns[most]:.3g}"
        yield Finding("", "scale", f"{where}: the weights hardly count. Scale them: (x - mean) / deviation.")


def _target_scale(step: Step) -> Iterator[Finding]:
    size = _rms(step.y)
    if step.loss_name in _OF_NUMBERS and size > _TARGETS:
        text = f"The targets are around {size:.3g}: so are the gradients. Scale them, (y - mean) / deviation, and the"
        yield Finding("", "scale", f"{text} predictions back.")


def _logits(step: Step) -> Iterator[Finding]:
    if not step.layers:
        return
    last = step.layers[-1]
    name = last.activation.split(" + ")[-1]
    if step.loss_name in ("CrossEntropyLoss", "BCEWithLogitsLoss") and name in _RANGES:
        own = "softmax" if step.loss_name == "CrossEntropyLoss" else "sigmoid"
        low, high = step.output.min(), step.output.max()
        yield Finding(
            last.path,
            "logits",
            f"{step.loss_name} takes the {own} itself, of any numbers; {name} gives it those from {low:.3g} to "
            f"{high:.3g}. Leave the last {name} out.",
        )
    if step.loss_name == "CrossEntropyLoss" and step.output.ndim == 2 and step.output.shape[1] == 1:
        text = "CrossEntropyLoss gets one number a row: its softmax is 1 whatever the weights are, the gradient is 0. "
        cure = "Give the last layer a number for each class, or use BCEWithLogitsLoss."
        yield Finding(last.path, "logits", text + cure)
    if step.loss_name == "NLLLoss" and step.output.ndim == 2:
        total = float(np.exp(step.output).sum(1).mean())
        if not abs(total - 1.0) < 1e-3:
            text = f"NLLLoss takes logarithms of probabilities; exp of a row of outputs adds up to {total:.3g}, not 1."
            yield Finding(last.path, "logits", f"{text} End the net with LogSoftmax, or use CrossEntropyLoss.")


def _range(step: Step) -> Iterator[Finding]:
    name = step.layers[-1].activation.split(" + ")[-1] if step.layers else ""
    if step.loss_name not in _OF_NUMBERS or name not in _RANGES:
        return
    low, high = _RANGES[name]
    outside = (step.y < low) | (step.y > high)
    if outside.any():
        yield Finding(
            step.layers[-1].path,
            "range",
            f"{name} gives numbers from {low:g} to {high:g}; {outside.sum()} of {outside.size} targets are not among "
            f"them, they go from {step.y.min():.3g} to {step.y.max():.3g}. Leave the last {name} out, or scale y.",
        )


def _equal_units(step: Step) -> Iterator[Finding]:
    steepest = max((np.abs(g).max(initial=0.0) for layer in step.layers for g in layer.gradients.values()), default=0.0)
    for layer in step.layers:
        matrices = [name for name, value in layer.parameters.items() if value.ndim > 1 and len(value) > 1]
        if not matrices or layer.kind == "Embedding":
            continue
        weights = [layer.parameters[name] for name in matrices]
        unlike = max(np.abs(gradient - gradient[:1]).max() for gradient in layer.gradients.values())
        if all((weight == weight[:1]).all() for weight in weights) and unlike <= _ROUNDING * steepest:
            what = "the same" if any(weight.any() for weight in weights) else "0"
            text = f"All weights are {what}, and so every unit gets the same gradient: the {len(weights[0])} units stay"
            cure = "alike for ever, as if there were one. Begin with random weights, such as nn.init.xavier_uniform_."
            yield Finding(layer.path, "symmetry", f"{text} {cure}")


def _nothing_between(step: Step) -> Iterator[Finding]:
    for layer, above in zip(step.layers, step.layers[1:]):
        flat = all(name in ("", "Dropout", "Flatten") for name in layer.activation.split(" + "))
        if not (layer.kind == above.kind == "Linear" and flat and layer.equations["delta"] == "BP2"):
            continue
        (between, n_in), n_out = layer.parameters["weight"].shape, len(above.parameters["weight"])
        if between >= min(n_in, n_out):  # fewer are a bottleneck, which is meant
            text = (
                f"Nothing bends between this layer and layer {above.number}: two Linear in a row can do what one can."
            )
            yield Finding(layer.path, "linear", f"{text} Put an activation, such as ReLU, between them.")


# ---- symptoms: how activations and errors come through the layers ----------------------------------------------------


def _dead(step: Step) -> Iterator[Finding]:
    for layer in step.layers:
        if first_active(layer) != "ReLU" or len(layer.z) < _ENOUGH:
            continue
        dead = (flat_units(layer, layer.z) <= 0.0).all(0)
        if dead.all() or (dead.mean() > _DEAD and len(layer.z) >= _MANY and not _has_learnt(step)):
            count = "All" if dead.all() else f"{dead.sum()} of"
            text = (
                f"{count} {dead.size} units are dead: ReLU gives 0 for every one of {len(layer.z)} rows, and no error"
            )
            cure = "Begin with nn.init.kaiming_normal_ and biases 0, scale the inputs, lower the learning rate, or use"
            yield Finding(layer.path, "dead", f"{text} comes back through it. {cure} LeakyReLU.")


def _saturated(step: Step) -> Iterator[Finding]:
    if _has_learnt(step):
        return
    for layer in step.layers[:-1]:
        name = first_active(layer)
        if name in _FLAT:
            share = float(np.mean(np.abs(layer.z) > _FLAT[name]))
            if share > _SATURATED:
                yield Finding(
                    layer.path,
                    "saturated",
                    f"{share:.0%} of the activations are saturated: abs(z) is {_rms(layer.z):.3g} on average, where "
                    f"{name} is flat and errors do not come back. Scale the inputs, and begin with smaller weights, "
                    "such as nn.init.xavier_uniform_.",
                )


def _confidently_wrong(step: Step) -> Iterator[Finding]:
    """Nielsen, chapter 3: with the quadratic cost an output that is saturated and wrong learns slowly."""
    layer = step.layers[-1] if step.layers else None
    bound = _FLAT.get(layer.activation) if layer else None
    if layer is None or bound is None or step.loss_name not in _OF_NUMBERS or step.y.shape != layer.a.shape:
        return
    wrong = np.abs(layer.a - step.y) > 0.5
    flat = wrong & (np.abs(layer.z) > 0.8 * bound)
    rows = wrong.reshape(len(wrong), -1).any(1)
    if rows.mean() > _WRONG and flat.sum() > 0.5 * wrong.sum():
        cure = "Use cross-entropy, whose delta has no factor s'(z): BCEWithLogitsLoss or CrossEntropyLoss, without"
        yield Finding(
            layer.path,
            "saturated",
            f"{flat.sum()} of the {wrong.sum()} outputs that are wrong are saturated: with {step.loss_name} BP1 "
            f"multiplies their error by the slope of {layer.activation}, which is nearly 0. {cure} {layer.activation}.",
        )


def _no_gradient(step: Step) -> Iterator[Finding]:
    for layer in reversed(step.layers):
        if not any(gradient.any() for gradient in layer.gradients.values()) and step.loss != 0.0:
            text = "Every gradient of the layer is exactly 0, it learns nothing: no error comes back to it."
            cure = "Look above it for dead units, detach(), .data, no_grad(), argmax, or an output that is not used."
            if layer is step.layers[-1] and not layer.delta.any():
                cure = "Give the loss what the net gives, as it is: no detach(), .data, no_grad(), argmax in between."
            yield Finding(layer.path, "zero", f"{text} {cure}")
            return
        if _awakes(layer):
            return


def _first_and_last(step: Step) -> Iterator[Finding]:
    sizes = [(layer, float(np.linalg.norm(layer.delta))) for layer in step.layers]
    sizes = [(layer, size) for layer, size in sizes if size > _ROUNDING * max(size for _, size in sizes)]
    if len(sizes) < 2:
        return
    (first, early), (last, late) = sizes[0], sizes[-1]
    norms = f"the norm of delta is {late:.2e} in layer {last.number} and {early:.2e} in layer {first.number}"
    if late / early > _RATIO:
        cure = "The first layers hardly learn: use ReLU and nn.init.kaiming_normal_, BatchNorm, or fewer layers."
        text = f"The error vanishes on its way back: {norms}, {late / early:.1e} times less."
        yield Finding(first.path, "vanishing", f"{text} {cure}")
    if early / late > _RATIO:
        cure = "Begin with smaller weights (nn.init.kaiming_normal_), normalise between layers, or clip (clip_norm)."
        text = f"The error explodes on its way back: {norms}, {early / late:.1e} times more."
        yield Finding(first.path, "exploding", f"{text} {cure}")


def _steep(step: Step) -> Iterator[Finding]:
    parameters = [value for layer in step.layers for value in layer.parameters.values()]
    size = _norm(parameters)
    slope = _norm(value for layer in step.layers for value in layer.gradients.values())
    usual = max(size, _FAINT * math.sqrt(sum(value.size for value in parameters)))
    if size > 0.0 and slope > _STEEP * usual:
        text = f"The gradient has norm {slope:.3g}, all parameters {size:.3g}: any usual step overshoots."
        yield Finding("", "exploding", f"{text} Scale inputs and targets, clip the gradients, lower the learning rate.")


def _constant(step: Step) -> Iterator[Finding]:
    if any((rows == rows[:1]).all() for rows in (step.x, step.y)) or any(map(_awakes, step.layers)):
        return
    spread, size = float(np.ptp(step.output, axis=0).max(initial=0.0)), float(np.abs(step.output).max(initial=0.0))
    if spread <= _SAME * size:
        text = f"The outputs of all {len(step.output)} rows are the same to {spread:.1e}: inputs do not come through."
        yield Finding("", "constant", f"{text} Look for dead or saturated units, weights near 0, too many sigmoids.")


def _worse_than_guessing(step: Step) -> Iterator[Finding]:
    chance, loss = _chance(step), _mean_loss(step)
    if chance is not None and loss is not None and loss > 2.0 * chance[0] + 1.0:
        text = f"The loss is {loss:.4g}, {chance[1]} gives {chance[0]:.4g}: the net is sure of what is wrong."
        cure = f"Its outputs are around {_rms(step.output):.3g}: scale the inputs, begin with smaller weights."
        yield Finding("", "chance", f"{text} {cure}")


_Rule = Callable[[Step], Iterator[Finding]]
_CAUSES: tuple[_Rule, ...] = (
    _labels, _inputs, _input_scale, _target_scale, _logits, _range, _equal_units, _nothing_between,
)  # fmt: skip
_SYMPTOMS: tuple[_Rule, ...] = (
    _dead, _saturated, _confidently_wrong, _first_and_last, _steep, _no_gradient, _constant, _worse_than_guessing,
)  # fmt: skip


# ---- what several of them need ---------------------------------------------------------------------------------------


def first_active(layer: Layer) -> str:
    """The first of the activation that changes numbers: "ReLU" of "MaxPool2d + ReLU", which is as dead as ReLU."""
    return next((name for name in layer.activation.split(" + ") if name not in _PASSIVE), "")


def flat_units(layer: Layer, values: Array) -> Array:
    """Values of a layer with its units, or channels, as the columns, and rows and places as the rows."""
    if layer.kind.startswith(("Conv", "BatchNorm")) and values.ndim > 2:
        values = np.moveaxis(values, 1, -1)
    return values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)


def _awakes(layer: Layer) -> bool:
    """Whether its weights are 0 and will not be after an update: nothing comes through, but only now."""
    weight = layer.parameters.get("weight")
    return weight is not None and not weight.any() and bool(layer.gradients["weight"].any())


def _has_learnt(step: Step) -> bool:
    """Whether the loss is far below that of guessing: what may look ill does no harm."""
    chance, loss = _chance(step), _mean_loss(step)
    return chance is not None and loss is not None and loss < 0.5 * chance[0]


def _chance(step: Step) -> tuple[float, str] | None:
    """The loss of guessing among all classes alike, and its formula."""
    if step.loss_name in _OF_CHANCES:
        return math.log(2.0), "guessing, ln 2,"
    if step.loss_name in _OF_LABELS and step.output.ndim == 2 and step.output.shape[1] > 1:
        return math.log(step.output.shape[1]), f"guessing, ln {step.output.shape[1]},"
    return None


def _mean_loss(step: Step) -> float | None:
    """The mean of the losses of the rows, whatever reduction the loss has."""
    x, y = step.output.astype(np.float64), step.y
    if step.loss_name == "BCEWithLogitsLoss" and x.shape == y.shape:
        return float(np.mean(np.logaddexp(0.0, x) - x * y))
    if step.loss_name in _OF_LABELS and x.ndim == 2 and y.ndim == 1 and y.dtype.kind in "iu" and (y >= 0).all():
        log_p = x if step.loss_name == "NLLLoss" else x - np.logaddexp.reduce(x, axis=1, keepdims=True)
        return float(-np.mean(log_p[np.arange(len(x)), y]))
    return None


def _rms(values: Array) -> float:
    return _norm([values]) / math.sqrt(max(1, values.size))


def _norm(arrays: Iterable[Array]) -> float:
    return math.sqrt(sum(float(np.sum(np.square(array, dtype=np.float64))) for array in arrays))
