"""Training loops as a good engineer writes them by hand: what `genzoo bench train` measures genzoo against.

Each is a step: resident 8-bit data indexed by a permutation per epoch, fused Adam, gradients set to None, noise
drawn on the spot, nothing logged; the loss is read once, when a piece of work is done. `Source` brings batches
and noise, so that a test can give the very numbers that genzoo drew and compare the losses.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.config import Config
from genzoo.core.data import Data
from genzoo.core.modality import of
from genzoo.core.objective import Networks
from genzoo.plugins.augmentations.diffaugment import augmented


class Source:
    """Batches in model space and noise, on the data's device."""

    def __init__(self, data: Data, batch_size: int) -> None:
        self.x, self.size, self.device = data.x, batch_size, data.x.device
        if data.spec.levels:
            self.scale, self.shift = 2 / (data.spec.levels - 1), -1.0
        else:
            self.scale, self.shift = 1 / data.spec.scale[0], -data.spec.shift[0] / data.spec.scale[0]
        self.order, self.at = torch.randperm(len(data), device=self.device), 0
        self.y, self.labels = data.y, data.y  # of all data, and of the last batch
        self.population = len(data)

    def batch(self) -> Tensor:
        """The next ``(B, …)``."""
        if self.at + self.size > len(self.order):
            self.order, self.at = torch.randperm(len(self.order), device=self.device), 0
        index = self.order[self.at : self.at + self.size]
        self.at += self.size
        self.labels = None if self.y is None else self.y[index]
        return self.x[index].float().mul_(self.scale).add_(self.shift)

    def normal(self, name: str, size: int) -> Tensor:
        """Standard normal numbers ``(B, size)``."""
        return torch.randn(self.size, size, device=self.device)

    def uniform(self, name: str, size: int = 1) -> Tensor:
        """Uniform numbers ``(B, size)``."""
        return torch.rand(self.size, size, device=self.device)


class Loop:
    """A hand-written loop: `step` does one training step and returns its last loss."""

    def __init__(self, nets: Networks, config: Config, source: Source) -> None:
        self.nets, self.config, self.source = nets.train(), config, source
        self.model, self.latent = nets.model, config.latent.size
        self.average = None
        if config.train.average:
            assert isinstance(config.train.average, float)
            self.average = copy.deepcopy(nets.model).requires_grad_(False)
            self.targets: list[Tensor] = list(self.average.parameters())
            self.sources = [p.detach() for p in nets.model.parameters()]
            self.buffers = list(zip(self.average.buffers(), nets.model.buffers(), strict=True))
            self.weight = 1 - 0.5 ** (source.size / config.train.average)
        self.begin()

    def begin(self) -> None:
        """Make the optimizers."""
        raise NotImplementedError

    def step(self) -> Tensor:
        """One training step."""
        raise NotImplementedError

    def run(self, steps: int) -> float:
        """Do ``steps`` of them and read the last loss."""
        for _ in range(steps):
            loss = self.step()
        return float(loss)

    def adam(self, module: nn.Module) -> torch.optim.Optimizer:
        """Fused Adam with the config's settings."""
        o = self.config.train
        assert isinstance(o.lr, float)  # constant: loops by hand follow no schedule
        return torch.optim.Adam(module.parameters(), lr=o.lr, betas=o.betas, fused=True)

    def follow(self) -> None:
        """Move the average, if there is one."""
        if self.average is not None:
            with torch.no_grad():
                torch._foreach_lerp_(self.targets, self.sources, self.weight)
                for target, source in self.buffers:
                    target.copy_(source)


class VAE(Loop):
    """A variational autoencoder; subclasses say what an output means."""

    def begin(self) -> None:
        """One optimizer for all of the model."""
        assert self.model.encoder is not None
        self.encoder: Any = self.model.encoder
        self.optimizer = self.adam(self.model)

    def nll(self, x: Tensor, out: Tensor) -> Tensor:
        """Negative log-likelihood summed over everything, but for constants."""
        raise NotImplementedError

    def step(self) -> Tensor:
        """One training step."""
        x = self.source.batch()
        mean, log_var = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.exp(0.5 * log_var) * self.source.normal("eps", self.latent)
        kl = 0.5 * (mean.square() + log_var.exp() - log_var - 1).sum()
        loss: Tensor = (self.nll(x, self.model.generator(z)) + kl) / len(x)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.follow()
        return loss.detach()


class PixelVAE(VAE):
    """8-bit pixels: a discretized logistic with one learned scale."""

    def nll(self, x: Tensor, out: Tensor) -> Tensor:
        """Log-probability of the levels."""
        inverse = torch.exp(-self.model.likelihood.log_scale.clamp(min=-7))  # type: ignore[operator]
        centred, step = (x - out) * inverse, inverse / 255
        above, below = F.logsigmoid(centred + step), F.logsigmoid(step - centred)
        inside = above + below + torch.log(-torch.expm1(-2 * step))
        return -torch.where(x < 1 / 255 - 1, above, torch.where(x > 1 - 1 / 255, below, inside)).sum()


class GAN(Loop):
    """The non-saturating game: real and fake batches are judged apart, as batch norm wants it."""

    def begin(self) -> None:
        """Two optimizers."""
        self.critic: Any = self.nets.critic
        self.generator: Any = self.model.generator
        self.adam_critic, self.adam_generator = self.adam(self.critic), self.adam(self.generator)
        self.squash = partial(of(self.config.data).squash, self.config.data)
        self.turns = self.config.parts["objective"].options["critic_steps"]

    def critic_loss(self, x: Tensor) -> Tensor:
        """What the critic minimizes."""
        with torch.no_grad():
            fake = self.squash(self.generator(self.source.normal("z", self.latent)))
        loss: Tensor = (F.softplus(-self.critic(x)) + F.softplus(self.critic(fake))).mean()
        return loss

    def generator_loss(self) -> Tensor:
        """What the generator minimizes."""
        fake = self.squash(self.generator(self.source.normal("z", self.latent)))
        return F.softplus(-self.critic(fake)).mean()

    def step(self) -> Tensor:
        """The critic's turns, then the generator's."""
        self.critic.requires_grad_(True)
        for _ in range(self.turns):
            self.critic_loss(self.source.batch()).backward()  # type: ignore[no-untyped-call]
            self.adam_critic.step()
            self.adam_critic.zero_grad(set_to_none=True)
        self.critic.requires_grad_(False)  # or the generator's turn would compute gradients that nobody wants
        loss = self.generator_loss()
        loss.backward()  # type: ignore[no-untyped-call]
        self.adam_generator.step()
        self.adam_generator.zero_grad(set_to_none=True)
        self.follow()
        return loss.detach()


class WGANGP(GAN):
    """Wasserstein GAN with gradient penalty: one pass over real and fake, one over points between."""

    def critic_loss(self, x: Tensor) -> Tensor:
        """The negative distance and the penalty."""
        with torch.no_grad():
            fake = self.squash(self.generator(self.source.normal("z", self.latent)))
        real_score, fake_score = self.critic(torch.cat([x, fake])).chunk(2)
        between = torch.lerp(x, fake, self.source.uniform("mix").view(-1, *[1] * (x.dim() - 1))).requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        penalty = (gradient.flatten(1).norm(dim=1) - 1).square()
        weight = self.config.parts["objective"].options["gp_weight"]
        loss: Tensor = (fake_score - real_score).mean() + weight * penalty.mean()
        return loss

    def generator_loss(self) -> Tensor:
        """Good scores."""
        score: Tensor = self.critic(self.squash(self.generator(self.source.normal("z", self.latent))))
        return -score.mean()


class Hinge(GAN):
    """The hinge loss, real and fake batches judged apart."""

    def critic_loss(self, x: Tensor) -> Tensor:
        """Margins on both sides."""
        with torch.no_grad():
            fake = self.squash(self.generator(self.source.normal("z", self.latent)))
        loss: Tensor = (F.relu(1 - self.critic(x)) + F.relu(1 + self.critic(fake))).mean()
        return loss

    def generator_loss(self) -> Tensor:
        """Good scores."""
        score: Tensor = self.critic(self.squash(self.generator(self.source.normal("z", self.latent))))
        return -score.mean()


class HingeLabels(GAN):
    """The hinge loss of networks that are told the class."""

    def critic_loss(self, x: Tensor) -> Tensor:
        """Margins on both sides, of samples of the same classes."""
        y = self.source.labels
        with torch.no_grad():
            fake = self.squash(self.generator(self.source.normal("z", self.latent), y))
        loss: Tensor = (F.relu(1 - self.critic(x, y)) + F.relu(1 + self.critic(fake, y))).mean()
        return loss

    def generator_loss(self) -> Tensor:
        """Good scores."""
        z, y = self.source.normal("z", self.latent), self.source.labels
        score: Tensor = self.critic(self.squash(self.generator(z, y)), y)
        return -score.mean()


class HingeADA(Hinge):
    """The hinge loss of images that are changed with a probability, which follows the sign of real scores."""

    def begin(self) -> None:
        """And the probability."""
        super().begin()
        self.p = torch.zeros((), device=self.source.device)
        (self.ada,) = (part.options for part in self.config.lists["augmentation"])

    def critic_loss(self, x: Tensor) -> Tensor:
        """Margins on both sides, each with changes of its own."""
        with torch.no_grad():
            fake = self.squash(self.generator(self.source.normal("z", self.latent)))
        real = self.critic(augmented(x, self.source.uniform("real", 10), self.p))
        made = self.critic(augmented(fake, self.source.uniform("fake", 10), self.p))
        with torch.no_grad():
            way = (real.sign().mean() - self.ada["target"]).sign()
            self.step_of_p = way * len(x) / self.ada["images"]
        loss: Tensor = (F.relu(1 - real) + F.relu(1 + made)).mean()
        return loss

    def generator_loss(self) -> Tensor:
        """Good scores of changed samples."""
        self.p.add_(self.step_of_p).clamp_(0, self.ada["highest"])
        fake = self.squash(self.generator(self.source.normal("z", self.latent)))
        score: Tensor = self.critic(augmented(fake, self.source.uniform("fake", 10), self.p))
        return -score.mean()


class PackedWGANGP(GAN):
    """Wasserstein GAN with gradient penalty, whose critic judges several observations as one."""

    def packs(self, x: Tensor) -> Tensor:
        """``(B / m, m * first axis, …)``."""
        m = self.config.parts["objective"].options["pack"]
        return x.reshape(len(x) // m, m * x.shape[1], *x.shape[2:])

    def critic_loss(self, x: Tensor) -> Tensor:
        """The negative distance and the penalty, of packs."""
        with torch.no_grad():
            fake = self.squash(self.generator(self.source.normal("z", self.latent)))
        x, fake = self.packs(x), self.packs(fake)
        real_score, fake_score = self.critic(torch.cat([x, fake])).chunk(2)
        mix = self.source.uniform("mix")[:: self.config.parts["objective"].options["pack"]]
        between = torch.lerp(x, fake, mix.view(-1, *[1] * (x.dim() - 1))).requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        penalty = (gradient.flatten(1).norm(dim=1) - 1).square()
        weight = self.config.parts["objective"].options["gp_weight"]
        loss: Tensor = (fake_score - real_score).mean() + weight * penalty.mean()
        return loss

    def generator_loss(self) -> Tensor:
        """Good scores of packs."""
        fake = self.squash(self.generator(self.source.normal("z", self.latent)))
        score: Tensor = self.critic(self.packs(fake))
        return -score.mean()


class R3GAN(GAN):
    """Relativistic pairing with both gradient penalties, in one pass over real and fake."""

    def critic_loss(self, x: Tensor) -> Tensor:
        """Pairs, and the slopes at both sides."""
        with torch.no_grad():
            fake = self.squash(self.generator(self.source.normal("z", self.latent)))
        self.x, both = x, torch.cat([x, fake]).requires_grad_(True)
        scores = self.critic(both)
        (gradient,) = torch.autograd.grad(scores.sum(), both, create_graph=True)
        penalty = gradient.flatten(1).square().sum() / len(x)
        real, made = scores.chunk(2)
        gamma = self.config.parts["objective"].options["gamma"]
        loss: Tensor = F.softplus(made - real).mean() + gamma / 2 * penalty
        return loss

    def generator_loss(self) -> Tensor:
        """Better scores than the batch that the critic saw."""
        with torch.no_grad():
            real = self.critic(self.x)
        return F.softplus(real - self.critic(self.squash(self.generator(self.source.normal("z", self.latent))))).mean()
