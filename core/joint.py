"""The model in its own space, differentiable: p(x, z), q(z|x), and codes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from genzoo.core.conditions import repeated
from genzoo.core.errors import GenzooError
from genzoo.core.likelihood import Implicit, Likelihood
from genzoo.core.modality import of
from genzoo.core.networks import Encoder, Generator
from genzoo.core.noise import generator as seeded
from genzoo.core.posterior import Posterior, PosteriorHead
from genzoo.core.prior import NormalPrior, Prior, TokenPrior
from genzoo.core.spec import DataSpec, Latent

if TYPE_CHECKING:
    from genzoo.core.config import Config
    from genzoo.core.model import Model

_AHEAD = 2**17  # numbers of codes that are drawn at a time
BLOCK = 64  # codes are drawn in blocks of this many, so that sample i is the same for every batch size
_CODES, _PIXELS, _POSTERIOR = -1, -2, -3  # streams of randomness: negative, since training counts steps there


class Joint(nn.Module):
    """p(x, z) = p(x|z) p(z) and perhaps q(z|x), in model space: what objectives call.

    See `genzoo.core.model.Model`, which speaks data units.
    """

    def __init__(
        self,
        spec: DataSpec,
        latent: Latent,
        generator: Generator,
        likelihood: Likelihood,
        encoder: Encoder | None = None,
        head: PosteriorHead | None = None,
        *,
        prior: Prior | None = None,
        classes: int = 0,
        conditions: int = 0,
        config: Config | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.latent, self.classes, self.conditions = spec, latent, classes, conditions
        self.config, self.generator, self.likelihood = config, generator, likelihood
        self.encoder, self.head = encoder, head
        self.prior = prior if prior is not None else NormalPrior(latent)
        whole = cast("Model", self)  # which is what is ever built
        self.prior.attach(whole)
        if head is not None:
            head.attach(whole)

    @property
    def device(self) -> torch.device:
        """Where the parameters are; the CPU, if there are none."""
        return next(chain(self.parameters(), self.buffers()), torch.empty(0)).device

    @property
    def exact(self) -> bool:
        """Whether log p(x) needs no estimate, since there is no code: the likelihood gives it."""
        return self.latent.size == 0 and self.encoder is None and not isinstance(self.likelihood, Implicit)

    def mean(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Expected observations in model space, ``(B, *spec.shape)``, for codes ``(B, *latent.shape)``."""
        params: Tensor = self.generator(z, y)
        return self.likelihood.mean(params)

    def posterior(self, x: Tensor, y: Tensor | None = None) -> Posterior:
        """q(z|x) for observations in model space."""
        encoder, head = self.encoder, self.head
        if encoder is None or head is None:
            raise GenzooError(f"{self.called} has no encoder: it can sample and interpolate, but not encode")
        q: Posterior = head(encoder(x, y))
        q.y = y
        return q.refined(lambda z: self._log_joint(z, x, y))

    def closed(self, q: Posterior) -> bool:
        """Whether a posterior's KL to the prior has a closed form: then `Posterior.kl` gives it by number."""
        return bool(q.closed) and q.closed == self.prior.family

    def code(self, q: Posterior, eps: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Codes ``(B, *latent.shape)`` of a posterior by normal noise ``(B, *head.noise_shape)``, and `kl` ``(B,)``."""
        if self.closed(q):
            return q.sample(eps), q.kl().sum(1)
        z, log_q = q.sample_with_log_prob(eps)
        return z, self.kl(q, z, log_q, y)

    def kl(self, q: Posterior, z: Tensor, log_q: Tensor, y: Tensor | None = None) -> Tensor:
        """KL(q(z|x) ‖ p(z)) in nats, ``(B,)``: exact where it has a closed form, else log q - log p of the sample z."""
        return q.kl().sum(1) if self.closed(q) else log_q - self.log_prior(q, z, y)

    def log_prior(self, q: Posterior, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Log p(z) in nats, ``(..., B)``, of codes that were just drawn from a posterior."""
        if q.drawn is not None and isinstance(self.prior, TokenPrior):
            return self.prior.log_prob_of(q.drawn, y)
        return self.prior.log_prob(z, y)

    def params(self, q: Posterior, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Data parameters ``(B, …)`` of codes ``(B, *latent.shape)`` that were just drawn from a posterior."""
        found: Tensor = self.generator(z, y) if q.params is None else q.params
        return found

    def log_weights(self, x: Tensor, y: Tensor | None, eps: Tensor) -> Tensor:
        """Importance weights log p(x, z) - log q(z|x) in nats, ``(K, B)``, by noise ``(K, B, *head.noise_shape)``.

        Their mean is the evidence lower bound; log 1/K Σ exp of them is the importance-weighted one.
        """
        return self.weigh(self.posterior(x, y), x, y, eps)

    def weigh(self, q: Posterior, x: Tensor, y: Tensor | None, eps: Tensor) -> Tensor:
        """Likewise, of a posterior that is there."""
        return self.weights_of(q, x, y, *q.sample_with_log_prob(eps))

    def weights_of(self, q: Posterior, x: Tensor, y: Tensor | None, z: Tensor, log_q: Tensor) -> Tensor:
        """Likewise, of codes ``(K, B, *latent.shape)`` that were just drawn from it, and their density ``(K, B)``."""
        k = len(z)
        params = self.params(q, z.flatten(0, 1), repeated(y, k))
        log_x = self.likelihood.log_prob(params, x.repeat(k, *[1] * (x.dim() - 1))).view(k, len(x))
        return log_x + self.log_prior(q, z, y) - log_q

    def _log_joint(self, z: Tensor, x: Tensor, y: Tensor | None) -> Tensor:
        """Log p(x, z) of K codes ``(K B, *latent.shape)`` for each observation, ``(K B,)``."""
        k = len(z) // len(x)
        y = repeated(y, k)
        log_x = self.likelihood.log_prob(self.generator(z, y), x.repeat(k, *[1] * (x.dim() - 1)))
        return log_x + self.prior.log_prob(z, y)

    # Codes and noise of samples, without gradients.

    @torch.no_grad()
    def codes(
        self, start: int, count: int, *, seed: int = 0, truncation: float | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Codes number ``start`` to ``start + count`` of a seed's endless sequence, ``(count, *latent.shape)``.

        They are made of numbers drawn on the CPU, so that a seed means the same on every device. Labels ``(count,)``
        matter to a prior that goes by them.
        """
        u = self.code_noise(start, count, seed)
        y = None if labels is None else labels.to(self.device)
        return self.prior.sample(u, y, truncation=truncation).to(self.device)

    def code_noise(self, start: int, count: int, seed: int = 0) -> Tensor:
        """The uniform numbers that `codes` are made of, ``(count, *prior.noise_shape)``."""
        shape = self.prior.noise_shape
        first, last = start // BLOCK, (start + count - 1) // BLOCK
        parts = [torch.rand(BLOCK, *shape, generator=seeded(seed, _CODES, b)) for b in range(first, last + 1)]
        return torch.cat(parts)[start - first * BLOCK :][:count] if parts else torch.empty(0, *shape)

    def _codes_of(
        self, starts: range, size: int, n: int, seed: int, truncation: float | None, labels: Tensor | None = None
    ) -> Iterator[Tensor]:
        """Codes of each batch, several drawn at once where they follow each other.

        It is what a forward pass drives from the processor's caches that makes drawing slow, so it is done seldom.
        """
        several = max(_AHEAD // (size * max(self.latent.numbers, 1)), 1) if starts.step == size else 1
        for first in starts[::several]:
            count = min(several * size, n - first)
            y = None if labels is None else labels[first : first + count]
            yield from torch.split(self.codes(first, count, seed=seed, truncation=truncation, labels=y), size)

    def _noisy(self, params: Tensor, start: int, seed: int) -> Tensor:
        """Draw from the likelihood, always whole blocks, so that neither count nor batch size changes a draw."""
        parts = []
        for i in range(0, len(params), BLOCK):
            part = params[i : i + BLOCK]
            block = torch.cat([part, part[:1].expand(BLOCK - len(part), *part.shape[1:])])
            g = seeded(seed, _PIXELS, (start + i) // BLOCK, device=self.device)
            parts.append(self.likelihood.sample(block, g)[: len(part)])
        return torch.cat(parts)

    def _posterior_noise(self, seed: int, start: int, n: int, samples: int) -> Tensor:
        """Standard normal numbers ``(samples, n, *head.noise_shape)`` for observations number ``start`` and on.

        One stream per observation, drawn at once on the CPU (parts of a draw are not the draw of its parts),
        so that how observations and samples are batched changes nothing.
        """
        assert self.head is not None
        shape = (samples, *self.head.noise_shape)
        draws = [torch.randn(shape, generator=seeded(seed, _POSTERIOR, start + i)) for i in range(n)]
        return torch.stack(draws, dim=1).to(self.device)

    @staticmethod
    def batches_of(n: int, batch_size: int = 256) -> int:
        """How many batches `genzoo.core.model.Model.sample_batches` makes of ``n``: they hold whole blocks."""
        return math.ceil(n / (max(batch_size // BLOCK, 1) * BLOCK))

    def _presented(self, x: Tensor, numbers: bool) -> Any:
        """Data units as people have them."""
        return x if numbers else of(self.spec).presented(self.spec, x)

    @property
    def called(self) -> str:
        """What sentences about it call it."""
        return f"model {self.config.recipe!r}" if self.config is not None else "this model"


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module in eval mode for a while, and back into the mode it was in."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
