"""What genzoo's loop costs over one that a good engineer writes by hand. Run it alone on the machine:

    python tests/bench/train_step.py [--pairs 21] [--threads 2]

Both sides have the same networks, initial weights, batch, resident data, fused Adam, moving average and
clipping. A number is genzoo's speed as a factor of the hand-written loop's: .95 is 5 % slower.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))
from _pairs import line, ratios

import genzoo
from genzoo.core.config import Config
from genzoo.core.objective import Networks
from genzoo.core.trainer import Trainer
from genzoo.registry import the_registry
from genzoo.registry.compose import compose
from genzoo.training import initialize

BATCH = 64


class Hand:
    """The state that every hand-written loop has: networks, their average, data, an order."""

    def __init__(self, nets: Networks, config: Config, data: genzoo.Data) -> None:
        self.nets, self.config, self.x = nets.train(), config, data.x
        self.average = copy.deepcopy(nets.model).requires_grad_(False)
        self.order, self.at = torch.randperm(len(data)), 0
        self.losses: list[Any] = []

    def batch(self) -> torch.Tensor:
        if self.at + BATCH > len(self.order):
            self.order, self.at = torch.randperm(len(self.order)), 0
        index = self.order[self.at : self.at + BATCH]
        self.at += BATCH
        return self.x[index].float().div_(127.5).sub_(1)

    def adam(self, module: torch.nn.Module) -> torch.optim.Optimizer:
        o = self.config.train
        return torch.optim.Adam(module.parameters(), lr=o.lr, betas=o.betas, fused=True)

    @torch.no_grad()
    def update_average(self, decay: float = 0.999) -> None:
        torch._foreach_lerp_(list(self.average.parameters()), list(self.nets.model.parameters()), 1 - decay)
        for a, b in zip(self.average.buffers(), self.nets.model.buffers(), strict=True):
            a.copy_(b)


def vae_by_hand(nets: Networks, config: Config, data: genzoo.Data) -> Callable[[int], None]:
    hand = Hand(nets, config, data)
    model = nets.model
    adam, scale = hand.adam(model), model.likelihood.log_scale

    def run(steps: int) -> None:
        for _ in range(steps):
            x = hand.batch()
            mean, log_var = model.encoder(x).chunk(2, dim=1)
            z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
            out = model.generator(z)
            inverse = torch.exp(-scale.clamp(min=-7))
            centred, step = (x - out) * inverse, inverse / 255
            above, below = F.logsigmoid(centred + step), F.logsigmoid(step - centred)
            inside = above + below + torch.log(-torch.expm1(-2 * step))
            log_p = torch.where(x < 1 / 255 - 1, above, torch.where(x > 1 - 1 / 255, below, inside))
            nll = -log_p.flatten(1).sum(1)
            kl = 0.5 * (mean.square() + log_var.exp() - log_var - 1).sum(1)
            loss = (nll + kl).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 100.0, foreach=True)
            adam.step()
            adam.zero_grad(set_to_none=True)
            hand.update_average()
            hand.losses.append((loss.detach(), nll.detach(), kl.detach()))
        hand.losses = [torch.stack([part[0] for part in hand.losses]).mean().item()]
        hand.losses.clear()

    return run


def wgan_gp_by_hand(nets: Networks, config: Config, data: genzoo.Data) -> Callable[[int], None]:
    hand = Hand(nets, config, data)
    critic, generator = nets.critic, nets.model.generator
    adam_c, adam_g = hand.adam(critic), hand.adam(generator)
    size, turns = config.latent.size, config.parts["objective"].options["critic_steps"]

    def run(steps: int) -> None:
        for _ in range(steps):
            critic.requires_grad_(True)
            for _ in range(turns):
                x = hand.batch()
                with torch.no_grad():
                    fake = torch.tanh(generator(torch.randn(BATCH, size)))
                real_score, fake_score = critic(torch.cat([x, fake])).squeeze(1).chunk(2)
                between = torch.lerp(x, fake, torch.rand(BATCH, 1, 1, 1)).requires_grad_(True)
                (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
                penalty = (gradient.flatten(1).norm(dim=1) - 1).square()
                loss = (fake_score - real_score + 10 * penalty).mean()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(critic.parameters(), 100.0, foreach=True)
                adam_c.step()
                adam_c.zero_grad(set_to_none=True)
                hand.losses.append(loss.detach())
            critic.requires_grad_(False)
            loss = -critic(torch.tanh(generator(torch.randn(BATCH, size)))).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(generator.parameters(), 100.0, foreach=True)
            adam_g.step()
            adam_g.zero_grad(set_to_none=True)
            hand.update_average()
            hand.losses.append(loss.detach())
        torch.stack(hand.losses).mean().item()
        hand.losses.clear()

    return run


CASES = {
    "VAE-MLP": ("vae", {"generator": "mlp", "encoder": "mlp"}, vae_by_hand, 100),
    "VAE-conv": ("vae", {}, vae_by_hand, 12),
    "WGAN-GP-conv": ("wgan-gp", {}, wgan_gp_by_hand, 2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=21)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data = genzoo.load_data("fashion-mini")
    print(f"genzoo's speed as a factor of a hand-written loop's ({args.threads} threads): median [95 % interval]")
    for name, (recipe, options, by_hand, steps) in CASES.items():
        if args.only and args.only not in name:
            continue
        common = {"train.batch_size": BATCH, "train.average": 10_000, "train.clip": 100.0, "train.steps": 10**9}
        config = compose(the_registry(), data.spec, recipe, {**common, "train.log_every": steps, **options})
        objective, nets = initialize(config, 0)
        hand = by_hand(copy.deepcopy(nets), config, data)
        trainer = Trainer(objective, nets, data, config.train)

        def ours(trainer: Trainer = trainer, steps: int = steps) -> None:
            trainer.steps = trainer.step + steps
            trainer.train()

        found = ratios(ours, lambda hand=hand, steps=steps: hand(steps), args.pairs)
        print(line(name, found), flush=True)


if __name__ == "__main__":
    main()
