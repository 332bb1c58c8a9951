"""Every posterior with every prior, read from the registry: what builds agrees with itself, the rest is refused."""

from __future__ import annotations

import math

import pytest
import torch

from genzoo.core.build import build
from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose, resolver

SPEC = DataSpec("vector", (3,))
OBJECTIVE = {"objective": "vae:fit-prior", "likelihood": "gaussian", "likelihood.sigma": "fixed",
             "likelihood.value": 1.0, "generator": "mlp", "encoder": "mlp", "generator.width": 8,
             "encoder.width": 8}  # fmt: skip
SMALL = {"components": 5, "width": 8, "depth": 2, "heads": 2, "side": 0}
# Sizes of codes, with what makes a discrete posterior small.
CODES = (
    {"latent.size": 4, "posterior.codes": 2, "posterior.depth": 2},  # residuals: of few, every sum knows its tokens
    {"latent.size": 2},
    {"latent.size": 3},
    {"latent.size": 2, "posterior.levels": (3, 2)},
    {"latent.size": 4, "posterior.codes": 2},
    {"latent.size": 4, "posterior.codes": 2, "posterior.normal": 2},
)
NAMES = {kind: [e.name for e in the_registry().entries(kind) if e.distribution == "genzoo"]
         for kind in ("posterior", "prior")}  # fmt: skip
NOT_HERE = {"two-grids-vq", "conditional"}  # of images, or with labels
HIERARCHIES = {"top-down", "ladder"}
LEVELS = {"latent.size": 3, "generator": "levels", "generator.sizes": (2, 1)}
# Which go together: the others are refused.
NUMBERS = {"ar1", "iaf", "maf", "mixture", "normal", "nsf", "real-nvp", "second-vae", "unfitted", "vamp"}
TOKENS = {"pixelcnn", "transformer", "uniform-codes"}
DISCRETE = {"bsq", "categorical", "fsq", "gumbel-vq", "hrq", "lfq", "residual-vq", "simvq", "vq", "vq-gradient"}
OTHERS = {
    "gamma": {"gamma", "vamp"},
    "implicit": NUMBERS - {"vamp"},  # a mixture of it has no density
    "point": NUMBERS - {"vamp"},
    "power-spherical": {"sphere", "vamp"},
    "product": {"product", "vamp"},
    "riemannian": NUMBERS | {"manifold"},
    "rounded": TOKENS | {"scale-hyperprior"},
    "vmf": {"sphere", "vamp"},
    "wrapped-normal": {"poincare", "vamp"},
}
PAIRS = [(a, b) for a in NAMES["posterior"] if a not in NOT_HERE for b in NAMES["prior"] if b not in NOT_HERE]


def built(posterior, prior):
    """A model of both, in the first way that is not refused; else None, and every refusal is a sentence."""
    registry = the_registry()
    known = {i.name for i in registry.options(registry.get("prior", prior))}
    small = {f"prior.{k}": v for k, v in SMALL.items() if k in known}
    for codes in (LEVELS,) if posterior in HIERARCHIES else CODES:
        try:
            config = compose(registry, SPEC, None, OBJECTIVE | codes | small | {"posterior": posterior, "prior": prior})
            torch.manual_seed(0)
            model = build(config, resolver(registry, config))[1].model.eval()
        except UsageError as e:
            if len(str(e)) < 20:
                raise
            continue
        random = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, p in model.named_parameters():
                if not name.endswith("log_step"):
                    p.add_((0.03 if name.startswith("prior") else 0.1) * torch.randn(p.shape, generator=random))
        return model
    return None


@pytest.mark.slow
@pytest.mark.parametrize("posterior", sorted(set(NAMES["posterior"]) - NOT_HERE))
def test_which_go_together(posterior):
    """No pair is skipped below for a refusal that nobody meant."""
    priors = set(NAMES["prior"]) - NOT_HERE
    assert priors >= NUMBERS | TOKENS | set().union(*OTHERS.values())
    wanted = OTHERS.get(posterior, TOKENS if posterior in DISCRETE else NUMBERS)
    assert {prior for prior in priors if built(posterior, prior)} == wanted


@pytest.mark.slow
@pytest.mark.parametrize(("posterior", "prior"), PAIRS)
@torch.no_grad()
def test_weights_average_to_the_evidence_and_the_kl_is_its_monte_carlo(posterior, prior):
    """E_q[p(x, z) / q(z|x)] = p(x) = E_p[p(x|z)], or E_p[q(z|x) / p(z)] = 1 where q is the narrower; and the KL.

    Where neither is, E_q[min(1, p / q)] = E_p[min(1, q / p)].
    """
    model = built(posterior, prior)
    if model is None or model.head.point:
        pytest.skip("they do not go together, or codes have no density")
    n, x = 10_000, torch.tensor([[0.3, -0.8, 0.5]])
    u = torch.rand(n, *model.prior.noise_shape, generator=torch.Generator().manual_seed(0))
    z = model.prior.sample(u)
    evidence = model.likelihood.log_prob(model.generator(z), x.expand(n, 3)).double().exp()
    if not scored(model, z):
        pytest.skip("this prior can be drawn from, and has no density")
    eps = torch.randn(n, 1, *model.head.noise_shape, generator=torch.Generator().manual_seed(1))
    weights = model.log_weights(x, None, eps).double().exp().squeeze(1)
    a, b = mean_error(evidence), mean_error(weights)
    q = model.posterior(x)
    inverse = mean_error((q.log_prob(z[:, None]).squeeze(1) - model.prior.log_prob(z)).double().exp())
    if weights.std() < 1e-6 * weights.mean():  # a point mass
        assert b[0] < a[0] + 4 * a[1]
    elif model.prior.bound_noise:  # a bound on its density, by draws that every code has of its own
        bound = mean_error(model.log_weights(x, None, eps).squeeze(1))
        assert bound[0] < math.log(a[0]) + 4 * a[1] / a[0] + 4 * bound[1]
    elif max(a[1], b[1]) < 0.02 * a[0]:
        assert abs(a[0] - b[0]) < 4.5 * math.hypot(a[1], b[1]) + 1e-3 * a[0]
    elif inverse[1] < 0.02:
        assert abs(inverse[0] - 1) < 4.5 * inverse[1] + 1e-3
    else:  # neither is the narrower, and both ratios have tails: their overlap has none, from either side
        codes, log_q = q.sample_with_log_prob(eps)
        other = mean_error((model.log_prior(q, codes) - log_q).squeeze(1).double().clamp(max=0).exp())
        ratio = q.log_prob(z[:, None]).squeeze(1) - model.prior.log_prob(z)
        overlap = mean_error(ratio.double().clamp(max=0).exp())
        assert overlap[0] > 0.05
        assert abs(overlap[0] - other[0]) < 4.5 * math.hypot(overlap[1], other[1]) + 1e-3
    codes, kl = model.code(model.posterior(x.expand(n, 3)), eps[:, 0])
    z, log_q = q.sample_with_log_prob(eps)
    each = (log_q - model.log_prior(q, z)).squeeze(1)
    error = 4.5 * (each.std() + kl.std()).item() / math.sqrt(n) + 1e-3 * (1 + abs(each.mean().item()))
    assert kl.mean().item() == pytest.approx(each.mean().item(), abs=error)
    torch.testing.assert_close(codes, z[:, 0], atol=1e-4, rtol=1e-4)


def mean_error(values):
    return values.mean().item(), values.std().item() / math.sqrt(len(values))


def scored(model, z):
    try:
        return bool(torch.isfinite(model.prior.log_prob(z)).all())
    except UsageError:
        return False
