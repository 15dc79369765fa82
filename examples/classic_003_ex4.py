"""Coursera's exercise 4: nnCostFunction, with the gradients left to the library.

The course's files are found through TINYGRAD_BP_DATA and read by SciPy. Page: docs/classics/003-coursera-ex4.md.
"""

# %% The cost, and its six results
import os
from io import BytesIO
from pathlib import Path

import numpy as np

import tinygrad_bp as bp
import tinygrad_bp.nn.functional as F


def sigmoidGradient(z):
    return bp.grad(lambda z: F.sigmoid(z).sum())(z)


def nnCostFunction(nn_params, input_layer_size, hidden_layer_size, num_labels, X, y, Lambda, order="C"):
    """cost, grad1, grad2, reg_J, grad1_reg, grad2_reg; nn_params unrolled by rows ("C") or, as Octave does, columns."""
    split = hidden_layer_size * (input_layer_size + 1)
    Theta1 = nn_params[:split].reshape((hidden_layer_size, input_layer_size + 1), order=order)
    Theta2 = nn_params[split:].reshape((num_labels, hidden_layer_size + 1), order=order)
    Theta1, Theta2 = bp.Tensor(Theta1, requires_grad=True), bp.Tensor(Theta2, requires_grad=True)
    m = len(X)
    y10 = np.where(np.reshape(y, (m, 1)) == np.arange(1, num_labels + 1), 1.0, 0.0)

    a1 = F.sigmoid(F.linear(X, Theta1[:, 1:], Theta1[:, 0]))
    z2 = F.linear(a1, Theta2[:, 1:], Theta2[:, 0])
    cost = F.binary_cross_entropy_with_logits(z2, y10, reduction="sum") / m
    reg_J = cost + Lambda / (2 * m) * ((Theta1[:, 1:] ** 2).sum() + (Theta2[:, 1:] ** 2).sum())

    grads = bp.autograd.grad(cost, [Theta1, Theta2], retain_graph=True)
    grads_reg = bp.autograd.grad(reg_J, [Theta1, Theta2])
    return cost.item(), *(g.numpy() for g in grads), reg_J.item(), *(g.numpy() for g in grads_reg)


# %% The course's own check, on a net of 3-5-3
def debugInitializeWeights(fan_out, fan_in):
    return np.sin(np.arange(1.0, fan_out * (fan_in + 1) + 1)).reshape((fan_out, fan_in + 1), order="F") / 10


def checkNNGradients(Lambda):
    """The relative difference between the gradient and differences of the cost."""
    X, y = debugInitializeWeights(5, 2), 1 + np.arange(1, 6) % 3
    params = np.concatenate([debugInitializeWeights(5, 3).ravel("F"), debugInitializeWeights(3, 5).ravel("F")])
    *_, J, grad1, grad2 = nnCostFunction(params, 3, 5, 3, X, y, Lambda, order="F")
    grad, e = np.concatenate([grad1.ravel("F"), grad2.ravel("F")]), 1e-4 * np.eye(params.size)
    ahead, behind = ([nnCostFunction(params + s * d, 3, 5, 3, X, y, Lambda, "F")[3] for d in e] for s in (1, -1))
    numgrad = (np.array(ahead) - np.array(behind)) / 2e-4
    return J, np.linalg.norm(numgrad - grad) / np.linalg.norm(numgrad + grad)


# %%
def main(short=False):
    print("sigmoidGradient", sigmoidGradient([-1.0, -0.5, 0.0, 0.5, 1.0]))
    for Lambda in (0, 3):
        J, difference = checkNNGradients(Lambda)
        print(f"checkNNGradients, Lambda {Lambda}: J {J:.15f}, relative difference {difference:.1e}")
    if short:
        return
    folder = Path(os.environ.get("TINYGRAD_BP_DATA", "."))
    try:
        from scipy.io import loadmat

        data, weights = (loadmat(BytesIO((folder / name).read_bytes())) for name in ("ex4data1.mat", "ex4weights.mat"))
    except (ImportError, FileNotFoundError) as missing:
        print(f"No course data: {missing}. Name its folder in TINYGRAD_BP_DATA; '.[test]' installs SciPy.")
        return
    nn_params = np.concatenate([weights["Theta1"].ravel(), weights["Theta2"].ravel()])
    for Lambda in (0, 1, 3):
        J = nnCostFunction(nn_params, 400, 25, 10, data["X"], data["y"], Lambda)[3]
        print(f"Lambda {Lambda}: J {J:.15f}")


if __name__ == "__main__":
    main()
