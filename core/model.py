"""All that a user keeps of training: samples, encodes, reconstructs, interpolates, scores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import torch
from torch import Tensor

from genzoo.core import arguments
from genzoo.core.conditions import given, labels_of, told_between, told_of_samples
from genzoo.core.data import to_model, to_units
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.joint import BLOCK, Joint, evaluating
from genzoo.core.likelihood import drawing
from genzoo.core.math.estimates import LogLikelihood, active_units, spherical
from genzoo.core.modality import of
from genzoo.core.posterior import Posterior
from genzoo.core.prior import straight
from genzoo.core.selection import check_truncation, gathered, selected

P = ParamSpec("P")
R = TypeVar("R")


def _call(function: Callable[P, R]) -> Callable[P, R]:
    """A public call: its arguments are checked, and it records no gradients."""
    return arguments.checked(torch.no_grad()(function))


class Model(Joint):
    """A generator and what gives it meaning: prior, likelihood, and perhaps an encoder.

    Methods without an underscore in the first group work in data units: images are floats in [0, 1]
    (8-bit arrays are accepted), vectors in their own units. `mean`, `posterior` and the networks work in
    model space and are differentiable: they are what objectives call.

    Attributes:
        spec: what an observation is.
        latent: the code space.
        classes: number of classes the networks are conditioned on, 0 if unconditional.
        conditions: how many numbers they are told beside or instead of the label; the spec names them.
        config: everything needed to rebuild the networks, None for a hand-made model.
    """

    # In data units, without gradients.

    @_call
    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        labels: int | str | Sequence[int | str] | Tensor | None = None,
        condition: Any = None,
        truncation: float | None = None,
        noise: bool = False,
        where: str | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        batch_size: int = 256,
        numbers: bool = False,
    ) -> Any:
        """Draw observations ``(n, *spec.shape)`` in data units, on the model's device.

        Args:
            n: how many.
            seed: the same one gives the same observations, whatever the batch size; sample i does not depend on ``n``.
            labels: class of each (one for all), by name or number, for a conditional model; default cycles through
                them. Text is a name first: where a class is called "10", ``"10"`` is that class, and 10 is number 10.
            condition: the numbers that a model with `conditions` is told, in data units: K for all, or ``(n, K)``;
                default draws them from normals of the training data's mean and spread.
            truncation: keep codes within ± this many standard deviations of the prior.
            noise: draw from the likelihood too, instead of giving its mean; a likelihood that is ``sampled`` always is.
            where: a condition that all meet, of models of tables: ``"age > 40 AND sex = 'F'"``.
            temperature: of a model that draws value after value (texts): below 1 likelier ones, above 1 more varied.
            top_p: of such a model: draw from the likeliest values that together have this share of the probability.
            batch_size: observations at a time.
            numbers: give a tensor of what else is given otherwise, texts as a list of str.
        """
        parts = list(self.sample_batches(n, seed=seed, labels=labels, condition=condition, truncation=truncation,
                                         noise=noise, where=where, temperature=temperature, top_p=top_p,
                                         batch_size=batch_size))  # fmt: skip
        x = torch.cat([x for x, _ in parts]) if parts else torch.empty(0, *self.unit_shape, device=self.device)
        return self._presented(x, numbers)

    @_call
    def sample_batches(
        self,
        n: int,
        *,
        seed: int = 0,
        labels: int | str | Sequence[int | str] | Tensor | None = None,
        condition: Any = None,
        truncation: float | None = None,
        noise: bool = False,
        where: str | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        batch_size: int = 256,
        share: tuple[int, int] = (0, 1),
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield what `sample` returns in batches of observations and labels, in constant memory.

        With a share ``(r, k)`` only every k-th batch from number r on, so that k processes make all of them.
        """
        if n < 0:
            raise UsageError(f"the number of samples must not be negative, got {n}")
        if self.prior.unfitted:
            raise UsageError(f"{self.called} has nothing to sample from: {self.prior.unfitted}")
        check_truncation(truncation)
        size, noise = max(batch_size // BLOCK, 1) * BLOCK, noise or self.likelihood.sampled
        if (wanted := of(self.spec).selection(self.spec, where)) is not None:
            with drawing(self.likelihood, temperature, top_p):
                yield from gathered(selected(self, n, wanted, seed, labels, condition, truncation, noise), size, share)
            return
        every = told_of_samples(self, n, labels, condition, seed)
        starts = range(share[0] * size, n, share[1] * size)
        with evaluating(self), drawing(self.likelihood, temperature, top_p):
            for start, z in zip(starts, self._codes_of(starts, size, n, seed, truncation, every), strict=True):
                y = None if every is None else every[start : start + len(z)].to(self.device)
                params = self.generator(z, y)
                x = self._noisy(params, start, seed) if noise else self.likelihood.mean(params)
                told = labels_of(y) if y is not None and self.classes else None
                yield of(self.spec).told(self.spec, to_units(self.spec, x), told), told

    @_call
    def encode(
        self,
        x: Any,
        labels: Any = None,
        *,
        condition: Any = None,
        sample: bool = False,
        seed: int = 0,
        batch_size: int = 512,
    ) -> Tensor:
        """Codes ``(N, *latent.shape)`` of observations: the posterior mean, or a draw from it if asked to sample.

        Args:
            x: ``(N, *spec.shape)`` in data units, or 8-bit.
            labels: ``(N,)``, numbers or names, for a conditional model.
            condition: ``(N, K)`` in data units, or K for all, for a model with `conditions`.
            sample: draw from the posterior instead of taking its mean.
            seed: of that draw; the batch size changes nothing.
            batch_size: observations at a time.
        """
        codes = []
        for start, n, _, q in self._posteriors(x, labels, condition, batch_size):
            codes.append(q.sample(self._posterior_noise(seed, start, n, 1)[0]) if sample else q.mean)
        return torch.cat(codes)

    @_call
    def decode(
        self, z: Any, labels: Any = None, *, condition: Any = None, batch_size: int = 512, numbers: bool = False
    ) -> Any:
        """Expected observations ``(N, *spec.shape)`` in data units, for codes ``(N, *latent.shape)``."""
        z = arguments.codes(z).to(self.device)
        if z.dim() == 0 or z.shape[1:] != self.latent.shape:
            raise UsageError(f"{self.called} takes codes of shape {self._shape}, not {tuple(z.shape)}")
        return self._presented(self._decoded(z, given(self, labels, condition, len(z)), batch_size), numbers)

    @torch.no_grad()
    def _decoded(self, z: Tensor, y: Tensor | None, batch_size: int) -> Tensor:
        out = []
        with evaluating(self):
            for part in (slice(start, start + batch_size) for start in range(0, len(z), batch_size)):
                yb = None if y is None else y[part].to(self.device)
                out.append(to_units(self.spec, self.mean(z[part], yb)))
        return torch.cat(out) if out else torch.empty(0, *self.unit_shape)

    @_call
    def reconstruct(
        self,
        x: Any,
        labels: Any = None,
        *,
        condition: Any = None,
        sample: bool = False,
        seed: int = 0,
        batch_size: int = 512,
        numbers: bool = False,
    ) -> Any:
        """Encode and decode: ``(N, *spec.shape)`` in data units; see `encode` for the arguments."""
        z = self.encode(x, labels, condition=condition, sample=sample, seed=seed, batch_size=batch_size)
        return self.decode(z, labels, condition=condition, batch_size=batch_size, numbers=numbers)

    @_call
    def interpolate(
        self,
        a: Any,
        b: Any,
        steps: int = 8,
        *,
        path: Literal["prior", "spherical", "straight"] = "prior",
        labels: Any = None,
        to_labels: Any = None,
        condition: Any = None,
        numbers: bool = False,
    ) -> Any:
        """Observations ``(N, steps, *spec.shape)`` in data units along paths from codes ``a`` to ``b``, both included.

        Args:
            a: ``(N, *latent.shape)``.
            b: likewise.
            steps: points on each path.
            path: ``prior`` goes through codes that the prior makes likely; ``spherical`` is what that means to a
                normal prior; ``straight`` is the shortest.
            labels: class of each path, for a conditional model.
            to_labels: class of each path's end, for paths that go from class to class.
            condition: of each path ``(N, K)``, or of all, for a model with `conditions`.
            numbers: see `sample`.
        """
        if steps < 2:
            raise UsageError(f"an interpolation has at least 2 steps, not {steps}")
        a, b = (arguments.codes(v).to(self.device) for v in (a, b))
        if a.shape != b.shape or a.dim() == 0 or a.shape[1:] != self.latent.shape:
            raise UsageError(
                f"interpolation takes two sets of codes of one shape {self._shape}, "
                f"not {tuple(a.shape)} and {tuple(b.shape)}"
            )
        t = torch.linspace(0, 1, steps, device=self.device)
        if path == "spherical":
            z = spherical(a.flatten(1), b.flatten(1), t).view(len(a), steps, *self.latent.shape)
        else:
            z = straight(a, b, t) if path == "straight" else self.prior.path(a, b, t)
        y = given(self, labels, condition, len(a))
        if to_labels is None:
            told = None if y is None else y.repeat_interleave(steps, 0)
        else:
            with evaluating(self):
                told = told_between(self, z[:1, 0], y, given(self, to_labels, condition, len(a)), t)
        x = self._decoded(z.flatten(0, 1), told, 512)
        return self._presented(x.view(len(a), steps, *self.unit_shape), numbers)

    @_call
    def log_likelihood(
        self,
        x: Any,
        labels: Any = None,
        *,
        condition: Any = None,
        samples: int = 500,
        seed: int = 0,
        budget: int = 10_000,
    ) -> LogLikelihood:
        """Estimate log p(x) with K importance samples from the encoder's posterior; see `encode` for the arguments.

        Results do not depend on ``budget``, which is how many codes to decode at a time.
        """
        if not self.likelihood.normalized:
            raise UsageError(f"{self.called} has no log-likelihood: what it is trained by is a distance, not a density")
        samples = 1 if self.exact else samples
        levels, kind = self.spec.levels if self.likelihood.discrete else None, of(self.spec)
        x = arguments.array(kind.given(self.spec, x), "observations")
        weights = self.importance_weights(x, labels, condition=condition, samples=samples, seed=seed, budget=budget)
        found = LogLikelihood.of(weights, self.spec.size, levels)
        found = replace(found, units=kind.lengths(self.spec, x, characters=True))
        return replace(found, standard_error=torch.zeros_like(found.values)) if self.exact else found

    @_call
    def importance_weights(
        self, x: Any, labels: Any = None, *, condition: Any = None, samples: int, seed: int = 0, budget: int = 10_000
    ) -> Iterator[Tensor]:
        """Yield the weights that `log_likelihood` is made of, ``(K, B)`` in nats as float64, for a few x at a time."""
        if self.head is not None and self.head.point:
            raise UsageError(f"{self.called} has no likelihood, and no bound on it: its codes are points")
        budget = max(budget // self.likelihood.heavy, 1)
        chunk = max(min(samples, budget), 1)
        with evaluating(self):
            for start, xb, yb in self._batches(x, labels, condition, max(budget // samples, 1)):
                if self.exact:
                    z = xb.new_empty(len(xb), *self.latent.shape)
                    yield self.likelihood.log_prob(self.generator(z, yb), xb).double()[None]
                    continue
                q, n = self.posterior(xb, yb), len(xb)
                noise = torch.split(self._posterior_noise(seed, start, n, samples), chunk)
                yield torch.cat([self.weigh(q, xb, yb, eps).double() for eps in noise])

    @_call
    def posterior_numbers(
        self, x: Any, labels: Any = None, *, condition: Any = None, batch_size: int = 512
    ) -> tuple[Tensor, Tensor]:
        """Posterior means and KL(q(z|x) ‖ p(z)) in nats of each code's numbers, both ``(N, numbers)``; see `encode`.

        Where the KL has no closed form it is estimated from one sample of the whole code, ``(N, 1)``; a posterior of
        points has none, and -log p(z) stands there.
        """
        means, divergences = [], []
        for start, n, yb, q in self._posteriors(x, labels, condition, batch_size):
            means.append(q.mean.flatten(1))
            if self.closed(q):
                divergences.append(q.kl())
            else:
                divergences.append(self.code(q, self._posterior_noise(0, start, n, 1)[0], yb)[1][:, None])
        return torch.cat(means), torch.cat(divergences)

    @_call
    def tokens(self, x: Any, labels: Any = None, *, condition: Any = None, batch_size: int = 512) -> Tensor:
        """Numbers of the code vectors that a quantizer chose, int64 ``(N, places)``; see `encode` for the arguments."""
        found = []
        for *_, q in self._posteriors(x, labels, condition, batch_size):
            if q.tokens is None:
                raise UsageError(f"{self.called} has no tokens: its codes are real numbers")
            found.append(q.tokens)
        return torch.cat(found)

    @_call
    def active_units(self, x: Any, labels: Any = None, *, condition: Any = None, threshold: float = 0.01) -> int:
        """Latent dimensions whose posterior mean varies over the data by more than ``threshold``.

        Burda et al., arXiv:1509.00519, section 5.2. Zero means that the posterior collapsed.
        """
        return active_units(self.encode(x, labels, condition=condition).flatten(1), threshold)

    @_call
    def compress(
        self,
        x: Any,
        labels: Any = None,
        *,
        portable: bool = True,
        verify: bool = True,
        name: str = "",
    ) -> bytes:
        """Observations as the bytes of a file whose size is this model's bound on their likelihood; see `encode`.

        Args:
            x: data of single values: 8-bit images, or floats that are exactly such; a list of strings; a table.
                The path (`pathlib.Path`) of a file of texts or of a table is compressed with all that is in it.
            labels: of a conditional model; they are in the file too.
            portable: networks run in float64, so that other machines read it; otherwise this one, by the same settings.
            verify: decode it before it is given.
            name: what the weights are called, for whoever reads it.
        """
        from genzoo.core.coding.verified import compressed

        return compressed(self, x, labels, portable=portable, verify=verify, name=name).content

    @_call
    def decompress(self, content: bytes) -> Any:
        """What `compress` was given: uint8 levels of images, strings, an Arrow table; of tokens, reconstructions."""
        from genzoo.core.coding.verified import decompressed, opened

        return opened(self, decompressed(self, content)[0])

    @_call
    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model to a new weights folder, for `genzoo.load`; one made by hand has no config, and cannot be."""
        from genzoo.core.storage.files import write_folder
        from genzoo.core.storage.weights import model_files

        path = Path(folder).expanduser()
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} is not an empty folder: give a new one, so that nothing is overwritten")
        write_folder(path, model_files(self))

    def _repr_html_(self) -> str:
        from genzoo.core.notebook import of_model

        return of_model(self)

    @property
    def unit_shape(self) -> tuple[int, ...]:
        """Shape of one observation in data units."""
        return of(self.spec).unit_shape(self.spec)

    @property
    def _shape(self) -> str:
        """Of codes, in words."""
        return f"(N, {', '.join(map(str, self.latent.shape))})"

    def _posteriors(
        self, x: Any, labels: Any, condition: Any, batch_size: int
    ) -> Iterator[tuple[int, int, Tensor | None, Posterior]]:
        """Yield (start, count, what the networks are told, q(z|x)) of each batch, in eval mode."""
        with evaluating(self):
            for start, xb, yb in self._batches(x, labels, condition, batch_size):
                yield start, len(xb), yb, self.posterior(xb, yb)

    def _batches(
        self, x: Any, labels: Any, condition: Any, batch_size: int
    ) -> Iterator[tuple[int, Tensor, Tensor | None]]:
        """Yield (start, observations in model space on the device, what the networks are told)."""
        if self.encoder is None and not self.exact:
            raise GenzooError(f"{self.called} has no encoder: it can sample and interpolate, but not encode")
        x = arguments.array(of(self.spec).given(self.spec, x), "observations")
        if x.dim() == 0 or x.shape[1:] != self.unit_shape or len(x) == 0:
            raise UsageError(f"{self.called} takes data of shape (N, {', '.join(map(str, self.unit_shape))}), "
                             f"not {tuple(x.shape)}")  # fmt: skip
        x = of(self.spec).checked(self.spec, x, self.called)
        y = given(self, labels, condition, len(x))
        for start in range(0, len(x), batch_size):
            part = slice(start, start + batch_size)
            yield start, to_model(self.spec, x[part].to(self.device)), None if y is None else y[part].to(self.device)
