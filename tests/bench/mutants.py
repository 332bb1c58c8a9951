"""Faults put into the mathematics, one at a time, each of which a test must notice.

    python tests/bench/mutants.py [--only TEXT] [--list]

Each mutant replaces a piece of one file in a copy of the checkout, runs the tests named beside it, and is ``killed`` if one
of them fails. ``survived`` asks for a test. ``--list`` only says whether every piece is still there. The copy is put on
the path through the environment of the interpreter that runs this; a mutant takes as long as its tests.
"""

# ruff: noqa: E501

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """A piece of a file, what replaces it, and the tests that must notice."""

    file: str
    old: str
    new: str
    tests: str


def of(file: str, tests: str, *pairs: tuple[str, str]) -> list[Mutant]:
    return [Mutant(file, old, new, tests) for old, new in pairs]


GAN = "tests/plugins/gan"
METRICS = "tests/plugins/metrics"
MUTANTS = [
    *of("plugins/gan/gan.py", GAN,
        ("softplus(-real) + softplus(fake)", "softplus(real) + softplus(-fake)"),
        ("softplus(-real) + softplus(fake)", "softplus(-real)"),
        ("return softplus(-fake) if", "return softplus(fake) if")),
    *of("plugins/gan/hinge.py", GAN,
        ("(1 - real).relu()", "(1 + real).relu()"),
        ("(1 + fake).relu()", "(1 + fake)"),
        ("return -fake", "return fake")),
    *of("plugins/gan/wgan.py", GAN, ("return fake - real", "return real - fake"), ("return -fake", "return fake")),
    *of("plugins/gan/relativistic.py", f"{GAN}/test_coupled.py {GAN}/test_losses.py",
        ("real - all_gather(fake).mean()", "all_gather(fake).mean() - real"),
        ("all_gather(real).mean() - fake", "real - all_gather(fake).mean()"),
        ("return self.critic_loss(fake, real)", "return self.critic_loss(real, fake)"),
        ("(u - 1).square()", "u.square()")),
    *of("plugins/gan/adversarial.py", GAN,
        ("            with torch.no_grad():\n                fake = self.generated", "            if True:\n                fake = self.generated"),
        ("return weight * r.options.every", "return weight"),
        ("self.critic_loss, judged.real_outputs, judged.fake_outputs", "self.critic_loss, judged.fake_outputs, judged.real_outputs")),
    *of("plugins/regularizers/slopes.py", GAN,
        ('"mix": draws.uniform(1)', '"mix": draws.uniform(1) * 0.9'),
        ("torch.lerp(judged.real.x, judged.fake, mix)", "judged.real.x"),
        ("self.slopes_between(judged) - 1", "self.slopes_between(judged)"),
        ("off.relu() if", "off if")),
    *of("plugins/regularizers/slopes.py", GAN, ('"real") / 2', '"fake") / 2'), ('"real") / 2', '"real")')),
    *of("plugins/regularizers/slopes.py", GAN, ('"fake") / 2', '"real") / 2'), ('"fake") / 2', '"fake")')),
    *of("plugins/regularizers/slopes.py", GAN, ("x + 0.5 *", "x + 1.0 *"), (" - 1).square()", ").square()")),
    *of("plugins/regularizers/lecam.py", GAN,
        ("judged.real_score - fake", "judged.real_score - real"),
        ("(real - judged.fake_score)", "(judged.fake_score - real)"),
        ("1 - self.options.decay)", "self.options.decay)")),
    *of("plugins/regularizers/topk.py", GAN, ("(factor - 1) * made.loss", "factor * made.loss")),
    *of("plugins/regularizers/diversity.py", GAN,
        ("1 / (samples / codes + 1e-5)", "samples / codes + 1e-5"),
        ("return -(samples", "return (samples")),
    *of("plugins/regularizers/consistency.py", GAN,
        ("self.options.radius * draws.normal", "draws.normal"),
        ("return -(made.fake - near)", "return (made.fake - near)")),
    *of("plugins/regularizers/path_length.py", GAN, ("(length - running_mean(self.mean, self.options.decay, self.terms)).square()", "length.square()")),
    *of("plugins/regularizers/feature_matching.py", GAN, ("(fake - real).square().sum()", "(fake + real).square().sum()")),
    *of("plugins/posteriors/iaf.py", "tests/plugins/posteriors tests/plugins/vae/test_oracles_vae.py",
        ("torch.lerp(m, z, log_s.exp())", "torch.lerp(z, m, log_s.exp())"),
        ("self.base.log_prob(base) - volume", "self.base.log_prob(base) + volume")),
    *of("plugins/priors/real_nvp.py", "tests/plugins/priors", ("volume - scale.sum(-1)", "volume + scale.sum(-1)")),
    *of("plugins/priors/mixture.py", "tests/plugins/priors", (" - math.log(len(self.inputs))", "")),
    *of("plugins/vae/iwae.py", "tests/plugins/vae", (" - math.log(log_w.shape[dim])", "")),
    *of("plugins/vae/info_vae.py", "tests/plugins/vae",
        ('{"kl": 1 - o.alpha,', '{"kl": o.alpha,'), ("o.alpha + o.strength - 1},", "o.strength},")),
    *of("core/math/penalties.py", "tests/core/test_penalties.py",
        ("create_graph=True", "create_graph=False"),
        ("gradient.flatten(1).square().sum(1)", "gradient.flatten(1).square().mean(1)"),
        ("vector_norm(gradient.flatten(1), dim=1)", "vector_norm(gradient.flatten(1), ord=1, dim=1)")),
    *of("core/posterior.py", "tests/plugins/vae tests/core/test_model.py",
        ("0.5 * (mean.square() + log_var.exp() - log_var - 1)", "0.5 * (mean.square() + log_var.exp() + log_var - 1)"),
        ("0.5 * (mean.square() + log_var.exp() - log_var - 1)", "0.5 * (mean.square() + log_var.exp() - log_var)"),
        ("torch.exp(0.5 * self.log_var), eps", "torch.exp(self.log_var), eps")),
    *of("plugins/likelihoods/bernoulli.py", "tests/plugins/likelihoods",
        ("-F.softplus(-x * params.float()).flatten(1).sum(1)", "-F.softplus(x * params.float()).flatten(1).sum(1)"),
        ("-F.softplus(-x * params.float()).flatten(1).sum(1)", "-F.softplus(-x * params.float()).flatten(1).mean(1)"),
        ("torch.tanh(params / 2)", "torch.tanh(params)")),
    *of("core/math/estimates.py", "tests/core/test_spherical.py tests/core/test_model.py",
        ("torch.sin((1 - s) * angle) * ua", "torch.sin(s * angle) * ua"),
        ("torch.lerp(ra[:, None], rb[:, None], s)", "ra[:, None]")),
    *of("core/math/intervals.py", f"{METRICS}/test_estimate.py",
        ("scale = (groups - 1) ** 2 / groups", "scale = 1 / groups"),
        ("max(total - less, least)", "total"),
        ("math.sqrt(variance)", "variance"),
        ("v.std().item() / math.sqrt(n)", "v.std().item()"),
        ("TAIL = (1 - CONFIDENCE) / 2", "TAIL = 1 - CONFIDENCE"),
        ("angle + math.sin(angle) * total", "angle")),
    *of("plugins/metrics/frechet.py", f"{METRICS}/test_frechet.py",
        ("a.trace + b.trace - 2 *", "a.trace + b.trace -"),
        ("_gram(centred).div_(n - 1)", "_gram(centred).div_(n)"),
        ("(a.mean - b.mean.to(a.mean.device)).square().sum()", "(a.mean - b.mean.to(a.mean.device)).abs().sum()")),
    *of("plugins/metrics/twosample.py", f"{METRICS}/test_kernel.py",
        ("sxx / (n * (n - 1)) + syy", "sxx / (n * n) + syy"),
        ("- 2 * sxy / (n * m)\n", "- sxy / (n * m)\n"),
        ("jackknife - 2 * within - between", "jackknife"),
        ("(1 / x.shape[1]) + 1.0) ** 3", "(1 / x.shape[1])) ** 3"),
        ("(-0.5 / sigma**2)", "(-1 / sigma**2)")),
    *of("plugins/metrics/fidelity.py", f"{METRICS}/test_fidelity.py",
        ("inside = slab < real_radii[rows, None]", "inside = slab < fake_radii"),
        ("slab.topk(k + 1, dim=1", "slab.topk(k, dim=1"),
        ("mean(balls / k)", "mean(balls)")),
    *of("plugins/metrics/twosample.py", f"{METRICS}/test_wasserstein_and_score.py",
        ("mean**-0.5 / 2 if", "0.0 * mean if"),
        ("(x - y).abs().pow(power).mean(-1)", "(x - y).abs().mean(-1)"),
        ("(distance * widths).sum(-1)", "distance.mean(-1)")),
    *of("plugins/metrics/similarity.py", f"{METRICS}/test_similarity.py",
        ("each.square().sum() - squares", "squares"),
        ("-10 * torch.log10", "-20 * torch.log10"),
        ("2 * (xy - mx * my) + C2", "2 * (xy - mx * my)")),
    *of("plugins/metrics/labels.py", f"{METRICS}/test_representation.py",
        ("torch.special.xlogy(p, p) - torch.special.xlogy(p, q)", "torch.special.xlogy(q, q) - torch.special.xlogy(q, p)")),
    *of("plugins/metrics/disentanglement.py", f"{METRICS}/test_disentanglement.py",
        ("return best[0] - best[1]", "return best[0]"),
        ("score = 1 - (squares.sum(1) - best)", "score = 1 - squares.sum(1)"),
        ("scaled[index].var(0).argmin()", "scaled[index].var(0).argmax()")),
    *of("plugins/metrics/dci.py", f"{METRICS}/test_disentanglement.py",
        ("return 1 - entropy /", "return entropy /"),
        ("score - common", "score")),
    *of("core/math/estimates.py", f"{METRICS}/test_representation.py tests/core/test_model.py",
        ("total - math.log(k)", "total")),
    *of("plugins/metrics/likelihood.py", f"{METRICS}/test_representation.py",
        ("1 / (evidence.spec.size * math.log(2))", "1 / evidence.spec.size")),
    *of("plugins/metrics/copies.py", f"{METRICS}/test_copies.py",
        ("pairs = n * (n - 1) / 2\n", "pairs = n * n\n"),
        ("near[:, 0] < near[:, 1]", "near[:, 0] <= near[:, 1]")),
    *of("plugins/metrics/labels.py", f"{METRICS}/test_wasserstein_and_score.py",
        ("(p * (log_p - marginal)).sum(1)", "(p * log_p).sum(1)")),
    *of("plugins/metrics/codes.py", f"{METRICS}/test_representation.py",
        ("variance > _ACTIVE", "variance > 0")),
]  # fmt: skip


def missing() -> Iterator[Mutant]:
    """Mutants whose piece is not in its file."""
    for m in MUTANTS:
        if m.old not in (ROOT / m.file).read_text(encoding="utf-8"):
            yield m


def killed(m: Mutant, copy: Path) -> bool:
    """Whether a test notices a mutant in the copy, which is as it was afterwards."""
    path = copy / m.file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(m.old, m.new, 1), encoding="utf-8")
    # The links of .typing make one package of the copy's folders.
    environment = {**os.environ, "PYTHONPATH": str(copy / ".typing"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *m.tests.split()]
    try:
        return subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False).returncode == 1
    finally:
        path.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="mutants whose file or piece holds this text")
    parser.add_argument("--list", action="store_true", help="only say whether every piece is there")
    asked = parser.parse_args()
    gone = list(missing())
    for m in gone:
        print(f"gone      {m.file}: {m.old!r}")
    if asked.list:
        print(f"{len(MUTANTS)} mutants, {len(gone)} of a piece that is gone")
        sys.exit(bool(gone))
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", "runs"))
        for m in MUTANTS:
            if m in gone or asked.only not in f"{m.file} {m.old}":
                continue
            found = killed(m, copy)
            survivors += not found
            print(f"{'killed' if found else 'SURVIVED':9} {m.file}: {m.old!r} -> {m.new!r}", flush=True)
    sys.exit(bool(survivors or gone))


if __name__ == "__main__":
    main()
