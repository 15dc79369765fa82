"""A two-layer transformer learns to sort: ten digits in, the same digits in order out, all places at once.

Every place must find out how many digits are smaller than each, which takes attention to all the others. Page:
docs/sequences.md.
"""

# %% Digits and their places as vectors, two layers of attention, and for every place the scores of ten digits
import numpy as np

import tinygrad_bp as bp
from tinygrad_bp import nn
from tinygrad_bp.nn import functional as F


class Sorter(nn.Module):
    def __init__(self, length, width):
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.digit = nn.Embedding(10, width)
        self.place = nn.Embedding(length, width)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width))
        self.score = nn.Linear(width, 10)

    def forward(self, digits):
        return self.score(self.encoder(self.digit(digits) + self.place.weight))


# %% How many sequences come out sorted, every digit in its place
@bp.no_grad()
def share_sorted(net, digits):
    return float((net(digits).data.argmax(-1) == np.sort(digits)).all(1).mean())


# %% Every step sees new random sequences; the step grows at first and shrinks to nothing at last
def main(short=False):
    length, width, steps = (3, 32, 100) if short else (10, 64, 600)
    bp.manual_seed(0)
    rng = np.random.default_rng(1)
    test = rng.integers(0, 10, (1000, length))
    net = Sorter(length, width)
    optimizer = bp.optim.Adam(net.parameters())
    for step in range(steps):
        digits = rng.integers(0, 10, (64, length))
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1.0, (step + 1) / 50) * (1.0 - step / steps)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(digits).reshape((-1, 10)), np.sort(digits).reshape(-1))
        loss.backward()
        optimizer.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}: loss {loss.item():.4f}, {share_sorted(net, test):.1%} of 1000 sorted")
    share = share_sorted(net, test)
    print(f"{test[0].tolist()} becomes {net(test[:1]).data.argmax(-1)[0].tolist()}; {share:.1%} of 1000 sorted")
    return share


if __name__ == "__main__":
    main()
