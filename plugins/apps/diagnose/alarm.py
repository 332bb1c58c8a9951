"""Warnings while a run goes on: what its curves, and now and then a few samples and codes, tell of its health."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from genzoo.core.math.estimates import active_units
from genzoo.core.training.run_view import RunView, tell
from genzoo.core.training.trainer import Observer, Trainer
from genzoo.plugins.apps.diagnose import symptoms

WINDOW = 40  # records that are looked back on
BATCH = 64  # samples, observations and codes that are looked at
ALIKE = 0.1  # variance of the samples, as a multiple of the data's: healthy runs were above .39, noise at .1
EARLIEST = 0.2  # share of a run before which nothing is said of samples and codes
WARNING = "warning/"  # and its name: the column of the log in which a warning stands
TWICE = 2  # looks in a row that must find the same, so that one odd moment warns nobody


class Alarm(Observer):
    """Warns once of each thing that goes wrong, on stderr and in the log, and never stops or changes a run.

    The curves are judged when the log is due, from numbers that are on the host anyway. Samples and codes are looked
    at as often as pictures are drawn: ten times in a run, `BATCH` of them.
    """

    def __init__(self, run: RunView) -> None:
        self.run, self.every = run, max(run.trainer.steps // 10, 1)
        self.said = {k.removeprefix(WARNING): "before" for r in run.trainer.history for k in r if k.startswith(WARNING)}
        self._seen: dict[str, int] = {}

    def log(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        recent = trainer.history[-WINDOW:]
        explode, vanish = symptoms.gradients(recent)
        for verdict in (
            symptoms.divergence(recent), explode, vanish, symptoms.saturated_critic(recent),
            symptoms.overfitting(trainer.history),
        ):  # fmt: skip
            facts = "; ".join(f.text() for f in verdict.facts if f.wrong)
            says = verdict.says.rstrip(".") + (f" ({facts})" if facts else "")
            self._heed(trainer, verdict.name, says if verdict.status == "problem" else "")

    def step(self, trainer: Trainer) -> None:
        if trainer.step % self.every == 0 and trainer.step >= EARLIEST * trainer.steps and not trainer.sharded:
            self._look(trainer)

    @torch.no_grad()
    def _look(self, trainer: Trainer) -> None:
        model, data = trainer.model, trainer.data
        n = min(BATCH, len(data))
        index = torch.arange(n, device=data.device) * (len(data) // n)
        uniform = torch.full((n, *data.spec.shape), 0.5, device=data.device) if data.dynamic else None
        x, y = data.batch(index, uniform)
        x, y = x.to(model.device), None if y is None or not trainer.conditional else y.to(model.device)
        z = model.codes(0, n, seed=0).to(model.device)
        model.eval()
        made = model.mean(z, y).float().flatten(1)
        spread = made.var(0).sum() / x.float().flatten(1).var(0).sum().clamp(min=1e-12)
        active = None if model.encoder is None else active_units(model.posterior(x, y).mean)
        value = float(spread)
        says = f"samples are nearly alike: they vary {value:.2g} times as much as the data"
        collapsed, alike = active == 0, not value >= ALIKE and not model.prior.unfitted
        self._heed(trainer, "posterior-collapse", "no number of the code varies over the data" if collapsed else "")
        self._heed(trainer, "mode-collapse", says if alike and not collapsed else "")

    def _heed(self, trainer: Trainer, name: str, says: str) -> None:
        """Count what is wrong, and say it once when it was found twice in a row."""
        self._seen[name] = self._seen.get(name, 0) + 1 if says else 0
        if name not in self.said and self._seen[name] >= TWICE:
            self.said[name] = says
            self.run.log({f"{WARNING}{name}": 1.0})
            tell(f"step {trainer.step}: {name}: {says}; 'genzoo diagnose' tells more")
