"""The loops of `hand` for bounds other than a VAE's, with squared error: each as its paper has it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genzoo_bench import hand


class Bound(hand.VAE):
    """One player, one pass; subclasses say what is minimized."""

    def bound(self, x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        """What is minimized, 0-d."""
        raise NotImplementedError

    def step(self) -> Tensor:
        """One training step."""
        x = self.source.batch()
        loss = self.bound(x, *self.encoder(x).chunk(2, dim=1))
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.follow()
        return loss.detach()

    def code(self, mean: Tensor, log_var: Tensor) -> Tensor:
        """One code for each observation."""
        return torch.addcmul(mean, torch.exp(0.5 * log_var), self.source.normal("eps", self.latent))

    def error(self, x: Tensor, z: Tensor) -> Tensor:
        """Half the squared error of a batch, a mean over observations."""
        return 0.5 * (x - self.model.generator(z)).square().sum() / len(x)

    @staticmethod
    def kl(mean: Tensor, log_var: Tensor) -> Tensor:
        """To N(0, I), a mean over observations."""
        return 0.5 * (mean.square() + log_var.exp() - log_var - 1).sum() / len(mean)

    def option(self, name: str) -> float:
        """One of the objective's."""
        return float(self.config.parts["objective"].options[name])


class BetaVAE(Bound):
    """β times the KL."""

    def bound(self, x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        return self.error(x, self.code(mean, log_var)) + self.option("beta") * self.kl(mean, log_var)


class IWAE(Bound):
    """Log of a mean of K weights."""

    @property
    def codes(self) -> int:
        return int(self.option("samples"))

    def of(self, log_w: Tensor) -> Tensor:
        """A bound of each observation, from log weights ``(codes, B)``."""
        return torch.logsumexp(log_w, 0) - math.log(len(log_w))

    def bound(self, x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        k, d = self.codes, self.latent
        eps = self.source.normal("eps", k * d).view(-1, k, d).transpose(0, 1)
        z = torch.addcmul(mean, torch.exp(0.5 * log_var), eps)
        out = self.model.generator(z.flatten(0, 1)).view(k, len(x), -1)
        error = (out - x.flatten(1)).square().sum(2)
        # log p(z) - log q(z|x), whose constants cancel; (z - μ) / σ is ε.
        log_w = 0.5 * ((eps.square() + log_var - z.square()).sum(2) - error)
        return -self.of(log_w).mean()


class MIWAE(IWAE):
    """A mean of M such."""

    @property
    def codes(self) -> int:
        return int(self.option("samples") * self.option("bounds"))

    def of(self, log_w: Tensor) -> Tensor:
        k = int(self.option("samples"))
        return torch.logsumexp(log_w.view(-1, k, log_w.shape[1]), 1).mean(0) - math.log(k)


class CIWAE(IWAE):
    """Mixed with the evidence lower bound."""

    def of(self, log_w: Tensor) -> Tensor:
        beta = self.option("beta")
        return beta * log_w.mean(0) + (1 - beta) * super().of(log_w)


class BetaTCVAE(Bound):
    """The KL in its three parts, by stratified weights."""

    def bound(self, x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        b, n, z = len(x), self.source.population, self.code(mean, log_var)
        terms = -0.5 * ((z[:, None] - mean).square() * (-log_var).exp() + log_var + math.log(2 * math.pi))
        weights = torch.full((b, b), 1 / (b - 1))
        weights.diagonal()[:] = 1 / n
        weights[torch.arange(b), (torch.arange(b) + 1) % b] = (n - b + 1) / (n * (b - 1))
        weights = weights.log()
        joint = torch.logsumexp(terms.sum(2) + weights, 1)
        each = torch.logsumexp(terms + weights[:, :, None], 1).sum(1)
        own = terms.sum(2).diagonal()
        prior = -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
        parts = ((own - joint).mean(), (joint - each).mean(), (each - prior).mean())
        names = ("alpha", "beta", "gamma")
        return self.error(x, z) + sum(self.option(name) * part for name, part in zip(names, parts, strict=True))


class DIPVAE(Bound):
    """Form II."""

    def bound(self, x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        centred, apart = mean - mean.mean(0), self.option("apart")
        covariance = centred.T @ centred / len(x) + torch.diag(log_var.exp().mean(0))
        off = covariance - torch.eye(self.latent)
        penalty = apart * off.square().sum()  # on the diagonal as beside it
        return self.error(x, self.code(mean, log_var)) + self.kl(mean, log_var) + penalty


class InfoVAE(Bound):
    """α = 0: the KL whole, and an unbiased discrepancy by inverse multiquadrics."""

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """Of every pair, ``(B, B)``."""
        squares = torch.cdist(x, y).square()
        scales = [2 * self.latent * s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]
        return torch.stack([c / (c + squares) for c in scales]).sum(0)

    def bound(self, x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        z, b = self.code(mean, log_var), len(x)
        prior = self.source.normal("codes of the prior", self.latent)
        within = sum(
            (k.sum() - k.diagonal().sum()) / (b * (b - 1)) for k in (self.kernel(z, z), self.kernel(prior, prior))
        )
        mmd = within - 2 * self.kernel(z, prior).mean()
        return self.error(x, z) + self.kl(mean, log_var) + (self.option("strength") - 1) * mmd
