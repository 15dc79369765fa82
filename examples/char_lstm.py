"""A character LSTM learns to write sentences like "the dog that the cats see runs.", clauses within clauses.

No loss is below the entropy of the language; a verb agrees with its noun or does not. Page: docs/sequences.md.
"""

# %% The language: every noun waits for its verb, the last one first
import re

import numpy as np

import tinygrad_bp as bp
import tinygrad_bp.nn.functional as F
from tinygrad_bp import nn

NOUNS, VERBS = ("dog", "cat", "bird", "dogs", "cats", "birds"), ("see", "hear", "run")
ENTROPY = (np.log(6 * 3) - 0.3 * np.log(0.3) - 0.7 * np.log(0.7)) / 0.7  # of a sentence
CLAUSE = r"the (?:(?:dog|cat|bird) (?:see|hear|run)s|(?:dog|cat|bird)s (?:see|hear|run))\b"


def sentence(rng):
    nouns = rng.choice(NOUNS, rng.geometric(0.7))
    verbs = [rng.choice(VERBS) + "s" * (not noun.endswith("s")) for noun in nouns[::-1]]
    return f"the {' that the '.join(nouns)} {' '.join(verbs)}.\n"


def is_right(line):
    """Whether nothing but a clause is left when the clauses inside it are taken out."""
    while (shorter := re.sub(f" that {CLAUSE}", "", line)) != line:
        line = shorter
    return bool(re.fullmatch(CLAUSE + r"\.", line))


# %% The net, and how it writes
class Net(nn.Module):
    def __init__(self, chars):
        self.chars, self.one_hot = chars, np.eye(len(chars), dtype="float32")
        self.lstm, self.top = nn.LSTM(len(chars), 128, dtype="float32"), nn.Linear(128, len(chars), dtype="float32")

    def forward(self, numbers, states=None):
        """Logits of the character after each, and the states to go on with."""
        hs, states = self.lstm(self.one_hot[numbers], states)
        return self.top(hs), states

    @bp.no_grad()
    def written(self, n, text="the dog runs.\n"):
        """`text` and n more characters, each drawn as likely as the net says."""
        logits, states = self([self.chars.index(c) for c in text])
        for _ in range(n):
            k = bp.random.generator().choice(len(self.chars), p=F.softmax(logits.data[-1].astype(float)))
            text += self.chars[k]
            logits, states = self([k], states)
        return text


# %% 32 readers, each in its own part of the text: 64 characters a step, and the states go on from step to step
def main(short=False):
    bp.manual_seed(0)
    text = "".join(sentence(bp.random.generator()) for _ in range(2_000 if short else 100_000))
    net, entropy = Net("".join(sorted(set(text)))), ENTROPY * text.count("\n") / len(text)
    readers = np.array([net.chars.index(c) for c in text])[: len(text) // 32 * 32].reshape(32, -1).T
    optimizer, states, losses = bp.optim.Adam(net.parameters(), lr=0.005), None, []
    for i in (starts := range(0, len(readers) - 64, 64)):
        optimizer.param_groups[0]["lr"] = 0.005 * (1 - i / len(readers))
        logits, states = net(readers[i : i + 64], states)
        loss = F.cross_entropy(logits.reshape(-1, len(net.chars)), readers[i + 1 : i + 65].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        states = [state.detach() for state in states]
        losses.append(loss.item())
        if len(losses) % (len(starts) // 6) == 0:
            print(f"step {len(losses)}: loss {np.mean(losses[-10:]):.3f}; the entropy is {entropy:.3f}")
    lines = net.written(200 if short else 10_000).splitlines()[1:-1]
    print("", *lines[:6], "", f"{sum(map(is_right, lines))} of {len(lines)} sentences are right", sep="\n")
    return losses


if __name__ == "__main__":
    main()
