"""What the tests compare: short trainings on as many processes as the environment says, and what became of them.

python cases.py OUT [CASE …]     writes OUT/CASE.safetensors: every gradient that moved something, and the end
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import save_file
from torch import Tensor

from genzoo.core.data import Data
from genzoo.core.distributed.gather import all_gather
from genzoo.core.distributed.init import init_runtime
from genzoo.core.distributed.sharding import whole_tensor
from genzoo.core.hardware import Hardware
from genzoo.core.modality import of
from genzoo.core.networks import Ports
from genzoo.core.spec import DataSpec
from genzoo.core.training import state
from genzoo.core.training.trainer import Trainer
from genzoo.plugins.nets.mlp import MLPCritic
from genzoo.plugins.priors import normals
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.initialize import initialize

IMAGE = DataSpec.image(1, 9, 8, classes=3)
DRAWN = DataSpec.image(1, 9, 8, classes=3, levels=2)
VECTOR = DataSpec("vector", (5,), classes=3)
TOLD = DataSpec(
    "vector", (5,), classes=3, conditions=("a", "b"), condition_scale=(2.0, 0.5), condition_shift=(1.0, 0.0)
)
ROWS, TEXTS, SOUNDS, SPECTRA = (of(kind).examples()[0] for kind in ("table", "text", "audio", "spectrogram"))
CONV = {"generator": "conv", "generator.width": 8, "latent.size": 3}
MLP = {"generator": "mlp", "generator.width": 8, "latent.size": 3}
C_GAN, C_VAE = CONV | {"critic": "conv", "critic.width": 8}, CONV | {"encoder": "conv", "encoder.width": 8}
M_GAN, M_VAE = MLP | {"critic": "mlp", "critic.width": 8}, MLP | {"encoder": "mlp", "encoder.width": 8}
SOUND = {"generator.width": 4, "generator.bands": 4}
PLAIN = {"critic.spectral_norm": False, "generator.norm": "none"}
NORMS = {"generator.norm": "batch", "encoder.norm": "batch"}

# name: recipe, data, options, how
CASES: dict[str, tuple[str, DataSpec, dict[str, Any], dict[str, Any]]] = {
    "wgan-gp": ("wgan-gp", IMAGE, C_GAN | {"train.average": 64}, {}),
    "wgan-gp, no norm": ("wgan-gp", VECTOR, M_GAN | {"train.clip": 0.5}, {}),
    "r3gan": ("r3gan", IMAGE, C_GAN, {}),
    "r3gan, conditional": ("r3gan", VECTOR, M_GAN | {"conditional": True}, {}),
    "gan, batch norm in the critic": ("gan", IMAGE, C_GAN | {"critic.norm": "batch"}, {}),
    "gan, norms of classes": ("gan", IMAGE, C_GAN | {"conditional": True, "generator.norm": "class"}, {}),
    "wgan": ("wgan", VECTOR, M_GAN | {"objective.clip": 0.5}, {}),
    "vae": ("vae", VECTOR, M_VAE | {"train.clip": 1.0}, {}),
    "vae, adam": ("vae", IMAGE, C_VAE | {"train.optimizer": "adam", "train.betas": (0.9, 0.999)}, {}),
    "vae, batch norm": ("vae", IMAGE, C_VAE | NORMS, {}),
    "vae, batch norm of vectors": ("vae", VECTOR, M_VAE | NORMS, {}),
    "cvae": ("cvae", IMAGE, C_VAE, {}),
    "classes": ("cvae", VECTOR, M_VAE | {"train.sampling": "balanced", "train.class_weights": (1, 2, 3)}, {}),
    "conditions": ("r3gan", TOLD, M_GAN | {"conditional": True, "train.sampling": "balanced"}, {}),
    "optimal sigma": ("vae", VECTOR, M_VAE | {"likelihood.sigma": "optimal"}, {}),
    "free bits": ("vae", VECTOR, M_VAE | {"objective.free_bits": 0.02, "objective.kl_warmup": 0.5}, {}),
    "drawn pixels": ("vae", DRAWN, C_VAE, {}),
    "accumulated": ("vae", VECTOR, M_VAE | {"train.accumulate": 2}, {}),
    "skipping": ("wgan-gp", VECTOR, M_GAN, {"on_nan": "skip"}),
    # State that follows what a turn found, and terms of whole batches.
    "began": ("gan", VECTOR, M_VAE | {"objective": "began", "objective.rate": 0.1, "train.steps": 20}, {}),
    "lecam": ("gan", VECTOR, M_GAN | PLAIN | {"objective": "hinge", "regularizer": ["lecam", "r1", "lipschitz=1"],
                                              "regularizer.r1.every": 3, "train.steps": 20}, {}),
    "ada": ("gan", IMAGE, C_GAN | PLAIN | {"augmentation": "ada", "augmentation.ada.images": 400.0,
                                           "augmentation.ada.target": 0.0, "train.steps": 20}, {}),
    "apa": ("gan", VECTOR, M_GAN | PLAIN | {"augmentation": "apa", "augmentation.apa.images": 400.0,
                                            "augmentation.apa.target": 0.0, "train.steps": 20}, {}),
    "pairs": ("gan", VECTOR, M_GAN | PLAIN | {"regularizer": ["mode-seeking=0.0001", "zcr", "diversity"]}, {}),
    "generator's turn": ("gan", VECTOR, M_GAN | PLAIN | {"regularizer": ["topk", "feature-matching", "orthogonal=0.1"],
                                                         "regularizer.topk.gamma": 0.5}, {}),
    "unrolled": ("unrolled", VECTOR, M_GAN | PLAIN | {"objective.steps": 2}, {}),
    "veegan": ("veegan", VECTOR, M_GAN | M_VAE | PLAIN, {}),
    "path length": ("gan", IMAGE, C_GAN | {
        "generator": "stylegan2", "generator.width": 4, "critic.spectral_norm": False, "train.steps": 4,
        "critic.minibatch": "discrimination", "regularizer": ["path-length", "r1"], "regularizer.path-length.every": 2,
    }, {}),
    "consistent": ("gan", IMAGE, C_GAN | PLAIN | {"objective": "hinge", "regularizer": ["bcr", "gn"]}, {}),
    "dragan": ("gan", VECTOR, M_GAN | PLAIN | {"regularizer": ["dragan=1"]}, {}),
    "ebgan": ("gan", IMAGE, C_VAE | {"objective": "ebgan", "encoder.norm": "none", "generator.norm": "none"}, {}),
    "ali": ("gan", VECTOR, M_GAN | M_VAE | PLAIN | {"objective": "ali", "conditional": True}, {}),
    "pacgan": ("gan", VECTOR, M_GAN | PLAIN | {"objective": "pacgan", "conditional": True,
                                               "regularizer": ["r1", "r2"]}, {}),
    "ragan": ("gan", VECTOR, M_GAN | PLAIN | {"objective": "ragan"}, {}),
    "softmax": ("gan", VECTOR, M_GAN | PLAIN | {"objective": "softmax-gan"}, {}),
    "dual contrastive": ("gan", VECTOR, M_GAN | PLAIN | {"objective": "dual-contrastive"}, {}),
    "fisher": ("gan", VECTOR, M_GAN | PLAIN | {"objective": "fisher-gan", "objective.rho": 0.1, "train.steps": 20}, {}),
    "sobolev": ("sobolev-gan", VECTOR, M_GAN | PLAIN | {"objective.critic_steps": 1, "objective.rho": 10.0,
                                                       "train.lr": 0.01, "train.steps": 20}, {}),
    "divergence": ("wgan-div", VECTOR, M_GAN | PLAIN | {"objective.critic_steps": 1, "train.steps": 20}, {}),
    "largest slope": ("gan", VECTOR, M_GAN | PLAIN | {"regularizer": ["max-slope=1"], "train.steps": 20}, {}),
    "mmd": ("gan", VECTOR, M_GAN | PLAIN | {"objective": "mmd-gan"}, {}),
    "cramer": ("gan", VECTOR, M_GAN | PLAIN | {"objective": "cramer-gan", "objective.critic_steps": 1}, {}),
    "infogan": ("infogan", VECTOR, M_GAN | PLAIN | {"objective.categories": 3, "latent.size": 6}, {}),
    "clusters": ("self-conditioned-gan", VECTOR, M_GAN | PLAIN | {"objective.clusters": 3, "latent.size": 5}, {}),
    "tacgan": ("tacgan", VECTOR, M_GAN | PLAIN, {}),
    "acgan": ("gan", IMAGE, C_GAN | {"objective": "acgan", "conditional": True}, {}),
    **{name: ("gan", VECTOR, M_GAN | PLAIN | {"objective": name, "conditional": True, "objective.dim": 4}, {})
       for name in ("contragan", "reacgan")},
    "styles": ("stylegan2", IMAGE, {"generator.width": 4, "generator.styles": 8, "critic.width": 4, "latent.size": 3,
                                    "regularizer.r1.every": 1, "conditional": True}, {}),
    "compares, under a penalty": ("gan", VECTOR, M_GAN | PLAIN | {"objective": "hinge", "regularizer": ["r1", "r2"]},
                                  {}),
    "quantizer": ("vq-vae", IMAGE, C_VAE | {"generator.norm": "none", "encoder.norm": "none", "latent.grid": 4,
                                            "posterior.codes": 8, "train.average": 64, "train.steps": 20}, {}),
    "residuals": ("residual-vq-vae", VECTOR, M_VAE | {"latent.size": 2, "posterior.codes": 8, "posterior.depth": 2,
                                                      "posterior.dropout": 0.5, "train.steps": 20}, {}),
    "restarts": ("vq-vae", VECTOR, M_VAE | {"latent.size": 4, "posterior.dim": 2, "posterior.codes": 16,
                                                   "posterior.dead": 0.5, "posterior.decay": 0.8,
                                                   "train.steps": 20}, {}),
    "bits": ("lfq-vae", VECTOR, M_VAE | {"latent.size": 4}, {}),
    "bits on a sphere": ("bsq-vae", VECTOR, M_VAE | {"latent.size": 4}, {}),
    "rounded numbers": ("fsq-vae", VECTOR, M_VAE | {"latent.size": 2, "posterior.levels": (5, 3)}, {}),
    "a mapped book": ("simvq-vae", VECTOR, M_VAE | {"latent.size": 2, "posterior.codes": 8, "train.steps": 20}, {}),
    "a book by gradients": ("vq-vae", VECTOR, M_VAE | {"latent.size": 2, "posterior": "vq-gradient",
                                                       "posterior.codes": 8, "train.steps": 20}, {}),
    "codes by chance": ("gumbel-vq-vae", VECTOR, M_VAE | {"latent.size": 2, "posterior.codes": 8}, {}),
    "drawn codes": ("hrq-vae", VECTOR, M_VAE | {"latent.size": 2, "posterior.codes": 8}, {}),
    "two grids": ("vq-vae-2", IMAGE, {"generator.width": 4, "encoder.width": 4, "generator.norm": "none",
                                      "encoder.norm": "none", "generator.dim": 4, "posterior.features": 8,
                                              "posterior.codes": 8, "train.average": 64, "train.steps": 20}, {}),
    "smooth": ("nvae", IMAGE, {"generator.width": 8, "encoder.width": 8, "encoder.norm": "none"}, {}),
    "critic of codes": ("factor-vae", VECTOR, M_VAE | {"critic.width": 8, "objective.critic_lr": 0.01}, {}),
    **{name: (name, VECTOR, M_VAE, {}) for name in ("beta-tc-vae", "dip-vae", "wae", "swae", "piwae")},
    "capacity": ("annealed-vae", VECTOR, M_VAE | {"objective.gamma": 1.0}, {}),
    "mmd of codes": ("info-vae", VECTOR, M_VAE | {"objective.strength": 20.0}, {}),
    "constraint": ("geco", VECTOR, M_VAE | {"objective.error": 0.5, "train.steps": 20}, {}),
    "normalized means": ("vae", VECTOR, M_VAE | {"posterior": "batch-normal"}, {}),
    "aae": ("aae", VECTOR, M_VAE | {"critic.width": 8, "train.lr": 1e-3, "conditional": True}, {}),
    "avb": ("avb", VECTOR, M_VAE | M_GAN | {"objective.contrast": 4, "train.lr": 1e-3}, {}),
    "vae-gan": ("gan", VECTOR, M_VAE | M_GAN | PLAIN | {"objective": "vae-gan"}, {}),
    "soft-intro-vae": ("soft-intro-vae", VECTOR, M_VAE | {"objective.beta_neg": 1.0}, {}),
    "vq-gan": ("vq-gan", VECTOR, M_VAE | M_GAN | {"latent.size": 4, "posterior.codes": 8, "objective.start": 0.0,
                                                  "train.lr": 1e-4, "train.steps": 20}, {}),
    "mixture of posteriors": ("vamp-vae", VECTOR, M_VAE | {"prior.components": 4}, {}),
    "numbers and categories": ("joint-vae", VECTOR, M_VAE | {"latent.size": 8, "posterior.normal": 4,
                                                             "posterior.codes": 2, "posterior.cooling": 0.1,
                                                             "objective.gamma": 1.0}, {}),
    "along a learned metric": ("riemannian-vae", VECTOR, M_VAE | {"posterior.centroids": 4}, {}),
    "expectation maximization": ("vae", VECTOR, M_VAE | {"objective": "fit-prior", "prior": "mixture",
                                                         "prior.components": 3, "train.steps": 20}, {}),
    "second stage": ("vae", VECTOR, M_VAE | {"objective": "fit-prior", "prior": "second-vae", "prior.width": 8}, {}),
    "second stage, of tokens": ("vq-vae", VECTOR, M_VAE | {
        "latent.size": 4, "posterior.dim": 2, "posterior.codes": 8, "objective": "fit-prior", "prior": "transformer",
        "prior.width": 8, "prior.depth": 1, "prior.heads": 2}, {}),
    # Other kinds of data.
    "rows, column after column": ("table-ar", ROWS, {"train.patience": 0, "likelihood.dropout": 0.0,
                                                     "train.lr": 1.0}, {}),
    "rows of codes": ("table-vae", ROWS, M_VAE, {}),
    "rows against a critic": ("table-gan", ROWS, M_GAN | {"generator.norm": "batch"}, {}),
    "texts, token after token": ("lm", TEXTS, {}, {}),
    "texts of codes": ("text-vae", TEXTS, {"latent.size": 3, "generator.width": 8, "encoder.hidden": 8}, {}),
    "texts against a critic": ("gumbel-gan", TEXTS, {"critic": "text-gru", "critic.hidden": 8, "critic.embed": 4}, {}),
    "sounds of codes": ("rave", SOUNDS, SOUND | {"encoder.width": 4, "latent.size": 3}, {}),
    "sounds against a critic": ("wavegan", SOUNDS, SOUND | {"critic.width": 4, "latent.size": 3}, {}),
    "sounds as tokens": ("audio-codec", SOUNDS, SOUND | {
        "encoder.width": 4, "critic.width": 4, "posterior.codes": 8, "objective.start": 0.0, "train.lr": 1e-4}, {}),
    "spectrograms": ("spec-vae", SPECTRA, C_VAE, {}),
    "along the gradient": ("hamiltonian-vae", VECTOR, M_VAE, {}),
    "sharded gan": ("wgan-gp", IMAGE, C_GAN | {"train.average": 64, "train.clip": 1.0, "train.optimizer": "adam"},
                    {"shard": True}),
    "sharded, rmsprop": ("vae", VECTOR, M_VAE | {"train.optimizer": "rmsprop", "train.lr": 1e-4}, {"shard": True}),
    "sharded vae": ("vae", IMAGE, C_VAE | NORMS | {"train.clip": 1.0, "train.average": 64}, {"shard": True}),
}  # fmt: skip


class Deviating(MLPCritic):
    """A perceptron that is also told how much the features of the whole batch deviate (StyleGAN's critic)."""

    mixes = True

    def __init__(self, ports: Ports, options: MLPCritic.Options | None = None) -> None:
        super().__init__(ports, options)
        self.extra = torch.nn.Linear(1, ports.output_size, bias=False)

    def forward(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        h = self.features(x, y, beside)
        deviation = all_gather(h).var(0, correction=0).add(1e-8).sqrt().mean().expand(len(x), 1)
        found: Tensor = self.head(h) + self.extra(deviation)
        return found


def toy(spec: DataSpec, n: int = 40) -> Data:
    random = torch.Generator().manual_seed(5)
    if spec.modality not in ("image", "vector"):
        kind = of(spec)
        return Data(spec, kind.to_storage(spec, kind.to_units(spec, kind.random(spec, n, 5))), name="toy")
    y = torch.arange(n) % 3
    if spec.modality == "image":
        x = torch.randint(256, (n, *spec.shape), generator=random, dtype=torch.uint8)
        return Data(spec, x, y, "toy", dynamic=spec.levels == 2)
    x = torch.randn(n, *spec.shape, generator=random) * 0.3 + y[:, None]
    return Data(spec, x, y, "toy", condition=x[:, :2] + 1 if spec.conditions else None)


def trainer_of(name: str) -> Trainer:
    recipe, spec, given, how = CASES[name]
    train: dict[str, Any] = {"train.batch_size": 8, "train.steps": 3, "train.log_every": 2, "train.validation": 0}
    # Adam would make whole steps of what is only rounding, where a gradient is zero.
    train |= {"train.optimizer": "sgd", "train.lr": 0.01, "train.betas": (0.5, 0.9)}
    config = compose(the_registry(), spec, recipe, train | given)
    runtime = init_runtime(torch.device("cpu"))
    hardware = Hardware(shard=how.get("shard", False) and runtime.size > 1)
    how = {k: v for k, v in how.items() if k != "shard"} | {"hardware": hardware}
    held_out = toy(spec, 600) if "vae" in recipe else None
    objective, nets = initialize(config, 0)
    if name.startswith("compares"):
        torch.manual_seed(1)
        nets.critics["critic"] = Deviating(nets.critic.ports, MLPCritic.Options(width=8))
    return Trainer(objective, nets, toy(spec), config.train, held_out=held_out, runtime=runtime, **how)


def watch(trainer: Trainer) -> dict[str, Tensor]:
    """Keep every gradient as it was when its parameter moved."""
    found: dict[str, Tensor] = {}
    for playing in trainer.player_states:

        def step(*args: Any, playing: Any = playing, move: Any = playing.optimizer.step) -> Any:
            for i, p in enumerate(playing.parameters):
                if p.grad is not None:
                    turn = sum(k.startswith(f"{playing.player.name} {i} ") for k in found)
                    found[f"{playing.player.name} {i} turn {turn}"] = whole_tensor(p.grad).clone()
            return move(*args)

        playing.optimizer.step = step  # type: ignore[method-assign]
    return found


@patch.object(normals, "_PARTING", 2)  # one step of k-means, and then expectation maximization
def run(name: str, out: Path) -> None:
    trainer = trainer_of(name)
    found = watch(trainer)
    trainer.train()
    loss = trainer.validate()
    trainer.prepare_state()
    tensors, plain = trainer.state()
    found |= {f"end {k}": v for k, v in tensors.items()}
    found |= {f"kept {k}": v for k, v in trainer.model.state_dict().items()}
    record = {"history": [{k: v for k, v in r.items() if k != "seconds"} for r in plain["history"]], "held out": loss}
    if trainer.runtime.first:
        save_file({k: v.detach().clone().contiguous() for k, v in found.items()}, out / f"{name}.safetensors")
        (out / f"{name}.json").write_text(json.dumps(record))
    assert state.numbers_of(trainer)["step"] == trainer.steps


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    for case in sys.argv[2:] or CASES:
        run(case, folder)
