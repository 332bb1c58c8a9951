"""What a leaderboard is, line by line, and its table for people: of `leaderboard` and of `vaes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genzoo.core.evaluation.report import Report, Result
from genzoo.plugins.apps.bench.bench_report import Effort, Table
from genzoo.plugins.apps.compare.compare import Compared

REAL = "real data"


@dataclass(frozen=True)
class Line:
    """One recipe (or weights) on the board, with its report or, if it broke down, why there is none.

    ``parameters`` are those of what is kept, without critics; ``was_there`` says that an earlier call had trained it.
    ``place`` is None where the number that ranks is missing, or does not compare with most others'.
    """

    recipe: str
    seconds: float = 0.0
    steps: int = 0
    parameters: int = 0
    report: Report | None = None
    why: str = ""
    folder: Path | None = None
    place: int | None = None
    was_there: bool = field(default=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain = {k: getattr(self, k) for k in ("recipe", "place", "seconds", "steps", "parameters", "why")}
        return {**plain, "report": None if self.report is None else self.report.to_dict()}


@dataclass(frozen=True)
class Board:
    """A leaderboard, best first, by the first metric that has a direction: ``by``, which a few may not have.

    ``real`` is what real data score in place of samples: nobody can be expected to do better. ``effort`` is None
    where each had a training of its own. ``left_out`` has recipes that do not fit these data, with the reason;
    ``compared`` has the numbers side by side, None if nothing was judged.
    """

    data: str
    effort: Effort | None
    lines: tuple[Line, ...]
    real: Report
    left_out: Mapping[str, str]
    compared: Compared | None
    by: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        best = {} if self.compared is None else self.compared.to_dict()["best"]
        return {
            "data": self.data, "budget": self.effort and asdict(self.effort), "best": best, "real": self.real.to_dict(),
            "lines": [line.to_dict() for line in self.lines], "left out": dict(self.left_out),
        }  # fmt: skip


def side_by_side(lines: Sequence[Line], **shown: Any) -> Compared | None:
    """The reports of those lines that have one; None if nothing was judged."""
    judged = {line.recipe: line.report for line in lines if line.report is not None}
    return Compared.of([*judged.values()], [*judged], **shown) if judged else None


def by_reason(left_out: Mapping[str, str], mark: str = "") -> list[str]:
    """Who is left out, a sentence for each reason: ``a, b: why``, each name between marks."""
    names = dict[str, list[str]]()
    for name, why in left_out.items():
        names.setdefault(why.replace(f"recipe {name!r}", "each"), []).append(name)
    return [
        f"{', '.join(f'{mark}{name}{mark}' for name in those)}: {why if len(those) > 1 else left_out[those[0]]}"
        for why, those in names.items()
    ]


def apart(board: Board) -> list[str]:
    """A sentence for each number that is of a density for some and of a probability for others."""
    found = list[str]()
    if board.compared is None:
        return found
    for row in board.compared.rows:
        results = zip(board.compared.names, row.results, strict=True)
        kinds = {name: bool(r.details.get("density")) for name, r in results if r is not None}
        if 0 < (densities := sum(kinds.values())) < len(kinds):
            fewer = 2 * densities <= len(kinds)
            names = ", ".join(name for name, density in kinds.items() if density == fewer)
            of, others = ("a density", "a probability") if fewer else ("a probability", "a density")
            found.append(f"{row.title} of {names} is of {of}, that of the others of {others}: they do not compare")
    return found


def board_table(board: Board, *, brief: bool = False) -> Table:
    """A row a recipe, best first, below what real data score; the winner of a column is bold.

    A line without the number that ranks, or whose likelihood is of the other kind, has no place.
    With ``brief``, for a terminal, there are no intervals, and a star in place of bold.
    """

    def said(result: Result | None, best: bool = False) -> str:
        if result is None:
            return "–"
        if brief:
            return f"{result.value:.4g}{' *' * best}"
        return f"**{result.text()}**" if best else result.text()

    rows = () if board.compared is None else board.compared.rows
    real = {r.metric: r for r in board.real}
    table = [("", REAL, *(said(real.get(row.metric)) for row in rows), "", "")]
    judged = 0
    for line in board.lines:
        if line.report is None:
            table.append(("–", line.recipe, *("–" for _ in rows), "", ""))
            continue
        cells = [said(row.results[judged], row.best == judged) for row in rows]
        judged += 1
        table.append((str(line.place or "–"), line.recipe, *cells, f"{line.steps:,}", f"{line.parameters:,}"))
    what = "recipe" if board.effort else "weights"
    return Table(("", what, *(row.title for row in rows), "steps", "parameters"), table)


def board_text(board: Board) -> str:
    """The table in Markdown, with how to read it and what is missing."""
    record = board.real.record
    own = f"Trained weights, each with a training of its own, judged on `{board.data}`"
    parts = [
        (f"Trained on `{board.data}` for {board.effort.text()} each, judged" if board.effort else own)
        + f" by {record['fake']:,} samples against "
        f"{record['real']:,} observations of its test split; seed {record['seed']}"
        + (f", features of `{record['extractor']}`." if record.get("extractor") else "."),
        "Bold: better than every other, its interval of 95 % having no point in common with theirs.",
        "",
        board_table(board).markdown(),
    ]
    parts += [line for sentence in apart(board) for line in ("", f"{sentence}.")]
    broken = [f"`{line.recipe}`: {line.why}" for line in board.lines if line.why]
    missing = by_reason(board.left_out, "`")
    for title, several in (("Broke down", broken), ("Left out", missing)):
        parts += ["", f"{title}: {'; '.join(several)}."] if several else []
    return "\n".join(parts) + "\n"
