"""The report of one run as markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from kdcompress.reporting import sections, verdict
from kdcompress.reporting.record import RunRecord


def markdown(record: RunRecord) -> str:
    """Write the report: the verdict first, then what to be careful about, then every table."""
    result = record.result
    found = verdict.verdict(result)
    parts = [f"**{found.lead}**: {text(found.reason)}"]
    if found.detail:
        parts.append(text(found.detail))
    parts += [f"> {text(caution)}" for caution in verdict.cautions(result)]
    for table in sections.tables(record):
        parts += [f"## {text(table.title)}", grid(table.header, table.rows)]
        parts += [text(table.note)] if table.note else []
    parts += [
        "## Recipe",
        "`kdcompress distill recipe.yaml` in the run's directory repeats the run.",
        _code(record.recipe),
    ]
    return "\n\n".join(parts) + "\n"


def text(words: str) -> str:
    """Escape what would be markup: a name may hold anything."""
    words = " ".join(words.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", words)


def grid(header: Sequence[str], rows: Iterable[Sequence[str]], words: Sequence[int] = ()) -> str:
    """Write a pipe table whose columns are right-aligned but for the first and those of words."""
    rule = ["---" if column in (0, *words) else "---:" for column in range(len(header))]
    written = [[text(cell) for cell in header], rule, *([text(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in written)


def _code(source: str) -> str:
    """Fence a text; the fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", source)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}yaml\n{source.rstrip()}\n{fence}"
