"""Maximum likelihood for models whose likelihood is exact: no code, no bound."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Objective, Plan, Player
from genzoo.core.spec import DataSpec
from genzoo.registry import declare

declare.recipe(
    "pixelcnn",
    summary="PixelCNN: an exact likelihood, pixel after pixel, without a code",
    paper="arXiv:1606.05328",
    tags=("autoregressive", "exact"),
    modalities=("image",),
    objective="maximum-likelihood",
    generator="constant",
    likelihood="pixelcnn",
    options={"latent.size": 0, "train.validation": 0.05},
)


declare.recipe(
    "lm",
    summary="Language model: an exact likelihood of texts, token after token, without a code",
    tags=("text", "autoregressive", "exact"),
    modalities=("text",),
    objective="maximum-likelihood",
    generator="constant",
    likelihood="ar-gru",
    options={
        "latent.size": 0,
        "train.validation": 0.05,
        "train.epochs": 10,
        "train.batch_size": 64,
        "train.sampling": "length",
        "train.lr": 0.004,
        "train.schedule": "cosine",
        "train.clip": 1.0,
    },
)


@declare.objective("maximum-likelihood", tags=("autoregressive", "exact"))
class MaximumLikelihood(Objective):
    """Maximum likelihood: maximize log p(x), or log p(x|y), of a likelihood that needs no code."""

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return Plan(likelihood=True)

    def players(self) -> tuple[Player, ...]:
        return (Player("model", ("model",)),)

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        noise, size = {"z": model.prior.draw(draws)}, model.likelihood.noise_size
        return noise | {"likelihood": draws.uniform(size)} if size else noise

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        """-log p(x) in nats."""
        params, likelihood = nets.model.generator(noise["z"], batch.y), nets.model.likelihood
        if "likelihood" in noise:
            uniform = noise["likelihood"]
            sums = likelihood.sums(batch.x, uniform) if nets.model.training else {}
            return Loss({"nll": -likelihood.log_prob_by(params, batch.x, uniform)}, sums=sums)
        return Loss({"nll": -likelihood.log_prob(params, batch.x)})

    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        nets.model.likelihood.after_step(seen)

    def held_out(self, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Tensor | None:
        return self.loss("model", nets, batch, {"z": noise["z"]}).terms["nll"]
