"""Which strategy works with which families of teacher and student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kdcompress.architectures import ARCHITECTURES
from kdcompress.errors import InputError
from kdcompress.product import built
from kdcompress.signature import required
from kdcompress.stage import fed
from kdcompress.strategies import STRATEGIES
from kdcompress.types import Interface, Pair, interface

SHAPES: tuple[tuple[int, ...], ...] = ((1, 16, 16), (3, 32, 32), (8,), (2, 64))
"""Images, rows and series on which they are tried."""


@dataclass(frozen=True)
class Trial:
    """A strategy on a pair with all options at their defaults; ``why`` not, or an empty string where it works."""

    strategy: str
    teacher: str
    student: str
    why: str


def trials(shape: tuple[int, ...]) -> tuple[Trial, ...]:
    """Return every strategy on every pair of families that take such input; nothing is trained."""
    sides = _sides(shape)
    return tuple(
        Trial(strategy, teacher, student, _why(strategy, sides[student], sides[teacher]))
        for strategy in STRATEGIES
        for teacher in sides
        for student in sides
    )


def table() -> str:
    """Return all trials in Markdown: for each strategy and teacher, the students that can learn so, and why others not.

    Shapes with the same answers stand together, with the reasons of the first.
    """
    found: dict[frozenset[tuple[str, str, str]], list[tuple[int, ...]]] = {}
    tried = {shape: trials(shape) for shape in SHAPES}
    for shape, ones in tried.items():
        works = frozenset((one.strategy, one.teacher, one.student) for one in ones if not one.why)
        found.setdefault(works, []).append(shape)
    parts = []
    for shapes in found.values():
        parts.append(f"## Input of {' and '.join(' x '.join(map(str, shape)) for shape in shapes)}")
        parts += [_section(name, [one for one in tried[shapes[0]] if one.strategy == name]) for name in STRATEGIES]
    return "\n\n".join(parts) + "\n"


def _sides(shape: tuple[int, ...]) -> dict[str, Interface]:
    """Return what each family offers that takes such input."""
    raw = torch.empty((2, *shape), dtype=torch.uint8 if len(shape) == 3 else torch.float32, device="meta")
    found = {}
    # What is made of something of the user's offers what that does.
    for name in (one for one in ARCHITECTURES if not required(ARCHITECTURES[one])):
        try:
            with torch.device("meta"):
                found[name] = interface(built(ARCHITECTURES, Pair, name, {}, shape), raw)
        except InputError:
            continue
    return found


def _why(strategy: str, student: Interface, teacher: Interface) -> str:
    try:
        fed(STRATEGIES[strategy](student, teacher), student, teacher)
    except InputError as error:
        return str(error).removeprefix("strategy: ")
    return ""


def _section(strategy: str, tried: Sequence[Trial]) -> str:
    """Return a strategy's table, in which teachers with the same students share a row, and the reasons by number."""
    reasons = list(dict.fromkeys(one.why for one in tried if one.why))
    rows: dict[tuple[str, str], list[str]] = {}
    for teacher in dict.fromkeys(one.teacher for one in tried):
        own = [one for one in tried if one.teacher == teacher]
        students = ", ".join(one.student for one in own if not one.why) or "none"
        refused = ", ".join(f"{one.student} ({1 + reasons.index(one.why)})" for one in own if one.why) or "none"
        rows.setdefault((students, refused), []).append(teacher)
    lines = [
        f"### {strategy}",
        "",
        STRATEGIES.describe(strategy),
        "",
        "| teacher | students | refused |",
        "|---|---|---|",
    ]
    lines += [f"| {', '.join(teachers)} | {students} | {refused} |" for (students, refused), teachers in rows.items()]
    lines += ["", *(f"{number}. {why}" for number, why in enumerate(reasons, 1))] if reasons else []
    return "\n".join(lines)
