"""Functions of PyTorch through the same checker: a right one, and one that torch.autograd.gradcheck lets pass.

The checker knows arrays only: `plain` makes forward and backward of them. All in float64. Needs `pip install torch`.
"""

# %% Any function of torch tensors, as the two functions of arrays that check_backprop takes
import functools

import numpy as np

import tinygrad_bp as bp


def plain(fn):
    """forward(*arrays) and backward(*arrays, upstream) of a function of torch tensors."""
    import torch

    @functools.wraps(fn)
    def forward(*arrays):
        return fn(*map(torch.tensor, arrays)).detach().numpy()

    def backward(*arrays):
        *leaves, upstream = map(torch.tensor, arrays)
        for leaf in leaves:
            leaf.requires_grad_(leaf.is_floating_point())
        inputs = [leaf for leaf in leaves if leaf.requires_grad]
        found = torch.autograd.grad(fn(*leaves), inputs, upstream, allow_unused=True)
        return [None if gradient is None else gradient.numpy() for gradient in found]

    return forward, backward


# %% A function whose backward multiplies by the incoming gradient twice: right for an incoming gradient of 1
def squared(x):
    import torch

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad_output):
            (x,) = ctx.saved_tensors
            return 2 * x * grad_output * grad_output

    return Square.apply(x)


# %%
def main(short=False):
    import torch

    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((4, 3)), np.array([0, 2, 1, 1])
    print(bp.check_backprop(*plain(torch.nn.functional.cross_entropy), logits, labels))

    x = rng.standard_normal(4)
    print("torch's own gradcheck of x * x:", torch.autograd.gradcheck(squared, torch.tensor(x, requires_grad=True)))
    print(bp.check_backprop(*plain(squared), x))


if __name__ == "__main__":
    main()
