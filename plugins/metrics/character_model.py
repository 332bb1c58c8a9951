"""A model of characters by those before them, which judges texts and draws them."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import torch

from genzoo.core.math.intervals import Estimate, mean

START, STOP = "\x02", "\x03"


class CharacterModel:
    """Interpolated model of n characters after Witten and Bell: p(c|h) = (count(hc) + kinds(h) p(c|h')) / (N + kinds).

    h' is h without its first character, N how often h was seen, and kinds how many characters followed it. Before all
    of them stands the uniform distribution over characters that were seen, the end, and one for all others.
    """

    def __init__(self, lines: Sequence[str], n: int) -> None:
        self.n, self.counts = n, [defaultdict[str, Counter[str]](Counter) for _ in range(n)]
        for line in lines:
            text = START * (n - 1) + line + STOP
            for i in range(n - 1, len(text)):
                for k in range(n):
                    self.counts[k][text[i - k : i]][text[i]] += 1
        self.kinds = len(self.counts[0][""]) + 1

    def probability(self, before: str, character: str) -> float:
        p = 1 / self.kinds
        for k in range(self.n):
            seen = self.counts[k].get(before[len(before) - k :])
            if not seen:
                break
            p = (seen[character] + len(seen) * p) / (seen.total() + len(seen))
        return p

    def sample(self, rng: random.Random, longest: int) -> str:
        """A line of at most so many characters, drawn from the model; characters that were never seen are not."""
        text = START * (self.n - 1)
        while len(text) < longest + self.n - 1:
            for k in reversed(range(self.n)):
                seen = self.counts[k].get(text[len(text) - k :], Counter())
                if rng.random() * (seen.total() + len(seen)) < seen.total():
                    found = rng.choices(list(seen), list(seen.values()))[0]
                    break
            else:
                found = rng.choice(list(self.counts[0][""]))
            if found == STOP:
                break
            text += found
        return text[self.n - 1 :]

    def nats(self, line: str) -> float:
        """-log p of a line and its end."""
        text = START * (self.n - 1) + line + STOP
        return -sum(math.log(self.probability(text[i - self.n + 1 : i], text[i])) for i in range(self.n - 1, len(text)))

    def per_character(self, lines: Sequence[str]) -> Estimate:
        """Of all lines over all their characters, the end counted with each."""
        nats = torch.tensor([self.nats(line) for line in lines], dtype=torch.float64)
        size = torch.tensor([len(line) + 1.0 for line in lines], dtype=torch.float64)
        value = (nats.sum() / size.sum()).item()
        around = mean((nats - value * size) / size.mean())  # of a ratio, to first order
        return Estimate(value, value + around.low, value + around.high, (len(lines),), around.interval)
