"""Training of each VAE that pythae has too, against its trainer: ``python tests/bench/vaes_speed.py --out tables``.

Networks of one hidden layer of 512 (ReLU) each way, 16 numbers of a code, batches of 100, squared error, Adam at 1e-3,
the data in memory on both sides. pythae runs by its own trainer, without progress bar and files; what it has beside
encoder and decoder (critics, flows) is of its default sizes, and ours of the same. Its models that are not what they
are called take part too: this is about time. A model that one side cannot train says why in its line.
"""

from __future__ import annotations

import argparse
import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from genzoo_bench.cases import Case, prepare
from genzoo_bench.pairs import CLOCKS, interleaved, ratio_of, seconds, threads_set
from genzoo_bench.rivals import _left_alone
from genzoo_bench.speed import ours
from torch import Tensor, nn

from genzoo.core.data import Data, to_model
from genzoo.plugins.apps.bench.bench_report import Table, keep, machine, sentence

WIDTH, CODE, BATCH, WANTED = 512, 16, 100, 1.5
EQUAL = {
    "generator": "mlp", "generator.width": WIDTH, "generator.depth": 1, "generator.activation": "relu",
    "encoder": "mlp", "encoder.width": WIDTH, "encoder.depth": 1, "encoder.activation": "relu",
    "latent.size": CODE, "train.batch_size": BATCH, "train.lr": 1e-3, "train.clip": 0.0,
}  # fmt: skip
SQUARED = {"likelihood": "gaussian", "likelihood.sigma": "fixed"}
SQUARED_POINT = {"likelihood": "gaussian"}


@dataclass(frozen=True)
class Both:
    """A model of both: our recipe with its options, and pythae's class with its own."""

    recipe: str
    options: Mapping[str, Any] = field(default_factory=dict)
    theirs: Mapping[str, Any] = field(default_factory=dict)
    trainer: str = "Base"


CRITIC = {"critic": "mlp", "critic.width": 256, "critic.depth": 1}  # pythae's default: one hidden layer of 256
K5, M2 = {"number_samples": 5}, {"number_samples": 5, "number_gradient_estimates": 2}
MODELS: dict[str, Both] = {
    "AE": Both("ae", SQUARED_POINT),
    "VAE": Both("vae", SQUARED),
    "BetaVAE": Both("beta-vae", SQUARED, {"beta": 4.0}),
    "DisentangledBetaVAE": Both("annealed-vae", SQUARED),
    "BetaTCVAE": Both("beta-tc-vae", SQUARED, {"beta": 6.0}),
    "FactorVAE": Both("factor-vae", SQUARED, trainer="Adversarial"),
    "INFOVAE_MMD": Both("info-vae", SQUARED),
    "WAE_MMD": Both("wae", SQUARED_POINT),
    "RAE_L2": Both("rae-l2", SQUARED_POINT, trainer="CoupledOptimizer"),
    "RAE_GP": Both("rae-gp", SQUARED_POINT),
    "IWAE": Both("iwae", {**SQUARED, "objective.samples": 5}, K5),
    "MIWAE": Both("miwae", {**SQUARED, "objective.samples": 5, "objective.bounds": 2}, M2),
    "PIWAE": Both("piwae", {**SQUARED, "objective.samples": 5, "objective.bounds": 2}, M2, "CoupledOptimizer"),
    "CIWAE": Both("ciwae", {**SQUARED, "objective.samples": 5}, {**K5, "beta": 0.5}),
    "VAE_LinNF": Both("vae-planar", {**SQUARED, "posterior.depth": 2}),
    "VAE_IAF": Both("vae-iaf", {**SQUARED, "posterior.depth": 2, "posterior.width": 128}),
    "HVAE": Both("hamiltonian-vae", {**SQUARED, "posterior.steps": 3}),
    "RHVAE": Both("riemannian-vae", SQUARED),
    "SVAE": Both("svae", SQUARED),
    "PoincareVAE": Both("poincare-vae", SQUARED),
    "VAMP": Both("vamp-vae", {**SQUARED, "prior.components": 50}, {"number_components": 50}),
    "VQVAE": Both("vq-vae", {**SQUARED_POINT, "latent.grid": 0}, {"use_ema": True}),
    "MSSSIM_VAE": Both("ms-ssim-vae", SQUARED, {"window_size": 11}),
    "Adversarial_AE": Both("aae", {**SQUARED, "critic.width": 256, "critic.depth": 1}, trainer="Adversarial"),
    "VAEGAN": Both("vae-gan", CRITIC, trainer="CoupledOptimizerAdversarial"),
}


def networks(name: str) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder of pythae's kind, of the same sizes as ours."""
    nets = importlib.import_module("pythae.models.nn")
    output = importlib.import_module("pythae.models.base.base_utils").ModelOutput

    class Encoder(nets.BaseEncoder):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            nets.BaseEncoder.__init__(self)
            self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(784, WIDTH), nn.ReLU())
            self.mean, self.rest = nn.Linear(WIDTH, CODE), nn.Linear(WIDTH, 1 if name == "SVAE" else CODE)

        def forward(self, x: Tensor) -> Any:
            h = self.hidden(x)
            if name in ("AE", "WAE_MMD", "RAE_L2", "RAE_GP", "VQVAE"):
                return output(embedding=self.mean(h))
            return output(embedding=self.mean(h), log_covariance=self.rest(h), log_concentration=self.rest(h))

    class Decoder(nets.BaseDecoder):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            nets.BaseDecoder.__init__(self)
            self.layers = nn.Sequential(nn.Linear(CODE, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 784), nn.Sigmoid())

        def forward(self, z: Tensor) -> Any:
            return output(reconstruction=self.layers(z).view(-1, 1, 28, 28))

    return Encoder(), Decoder()


def pythae(name: str, both: Both, x: Tensor, batch: int) -> Callable[[], Any]:
    """One epoch of pythae's own trainer."""
    models, trainers = importlib.import_module("pythae.models"), importlib.import_module("pythae.trainers")
    callbacks = importlib.import_module("pythae.trainers.training_callbacks")
    dataset = importlib.import_module("pythae.data.datasets").BaseDataset
    settings = next(getattr(models, f"{name}{end}Config") for end in ("", "_") if hasattr(models, f"{name}{end}Config"))
    config = settings(input_dim=(1, 28, 28), latent_dim=CODE, **both.theirs)
    encoder, decoder = networks(name)
    model = getattr(models, name)(config, encoder=encoder, decoder=decoder)
    base: Any = getattr(trainers, f"{both.trainer}Trainer")

    class Quiet(base):  # type: ignore[misc]
        def _set_output_dir(self) -> None:
            pass

        def _setup_callbacks(self) -> None:  # neither a progress bar nor printed metrics
            self.callback_handler = callbacks.CallbackHandler([callbacks.TrainingCallback()], self.model)

    kinds = ("discriminator", "autoencoder") if both.trainer == "Adversarial" else ("encoder", "decoder")
    kinds = (*kinds, "discriminator") if both.trainer == "CoupledOptimizerAdversarial" else kinds
    rates = {"learning_rate": 1e-3} if both.trainer == "Base" else {f"{k}_learning_rate": 1e-3 for k in kinds}
    how = getattr(trainers, f"{both.trainer}TrainerConfig")(
        per_device_train_batch_size=batch, per_device_eval_batch_size=batch, no_cuda=True, **rates
    )
    trainer = Quiet(model, train_dataset=dataset(x, x.new_zeros(len(x))), training_config=how)
    trainer.prepare_training()
    number = iter(range(1, 2**62))
    return lambda: trainer.train_step(next(number))


def measured(name: str, asked: argparse.Namespace) -> tuple[Any, int]:
    """Times of both sides, and steps in each piece of work."""
    both, batch = MODELS[name], asked.batch_size
    options = {**EQUAL, **both.options, "train.batch_size": batch}
    prepared = prepare(Case(name, both.recipe, options), torch.device("cpu"))
    trainer = prepared.trainer(asked.precision, compile_turns=asked.compile)
    ours(trainer, 3)
    steps = max(math.ceil(asked.piece / (seconds(partial(ours, trainer, 3), torch.device("cpu")) / 3)), 2)
    data: Data = prepared.data.take(slice(min(steps * batch, len(prepared.data) // batch * batch)))
    steps = len(data) // batch
    with _left_alone():
        epoch = pythae(name, both, to_model(data.spec, data.x).cpu(), batch)
    sides = [partial(ours, trainer, steps), epoch]
    for work in sides:
        work()
    return ratio_of(*interleaved(sides, asked.pairs, torch.device("cpu"), lambda: None, CLOCKS[asked.clock])), steps


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--piece", type=float, default=0.15, help="seconds of one piece of work")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=BATCH)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="ours; pythae has one")
    parser.add_argument("--compile", action="store_true", help="our turns")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall", help="cpu: beside other jobs, one thread")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rows, numbers = [], []
    with threads_set(asked.threads):
        for name in asked.models.split(","):
            recipe = MODELS[name].recipe
            try:
                ratio, steps = measured(name, asked)
            except Exception as e:  # a line of the table, whatever breaks
                why = f"{type(e).__name__}: {e}".splitlines()[0]
                rows.append((recipe, name, why, "", "", ""))
                numbers.append({"recipe": recipe, "pythae": name, "failed": why})
            else:
                reached = "reached" if ratio.median >= WANTED else "within" if ratio.high >= WANTED else "missed"
                each = [f"{1000 * t / steps:.2f}" for t in (ratio.ours, ratio.theirs)]
                rows.append((recipe, name, str(ratio), reached, *each))
                numbers.append({"recipe": recipe, "pythae": name, "steps": steps, **asdict(ratio)})
            print(*rows[-1], sep="  ", flush=True)
    table = Table(("recipe", "pythae's", "times as fast", f"{WANTED:g} times", "ms a step", "theirs"), rows)
    about = machine("cpu", asked.threads)
    print(f"\n{table.markdown()}\n\n{sentence(about)}")
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        of = "" if asked.precision == "float32" else f"_{asked.precision}"
        keep(asked.out, f"vaes_speed{of}", {"lines": numbers}, table.markdown(), about)


if __name__ == "__main__":
    main()
