"""Puts tables of committed reports into the README and the pages of docs, between marks that name them.

python benchmarks/pages.py            # rewrites the pages
python benchmarks/pages.py --check    # says which are not as the reports have them, and exits with 1

A mark is ``<!-- table: SUITE: SECTION -->``, the section as benchmarks/results/SUITE/report.md has it; the table stands
between it and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_REGION = re.compile(r"(<!-- table: ([\w.-]+): (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(suite: str, section: str) -> str:
    """Return the first table of a section of a suite's report."""
    text = (ROOT / "benchmarks" / "results" / suite / "report.md").read_text(encoding="utf-8")
    sections = {part.partition("\n")[0].replace("\\", ""): part for part in text.split("\n## ")[1:]}
    if section not in sections:
        raise SystemExit(f"{suite}: no section '{section}' (there are: {', '.join(sections)})")
    lines = sections[section].splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("|"))
    end = next((place for place in range(first, len(lines)) if not lines[place].startswith("|")), len(lines))
    return "\n".join(lines[first:end]) + "\n"


def filled(text: str) -> str:
    """Return a page with the tables that its marks name."""
    return _REGION.sub(lambda found: f"{found[1]}\n{table(found[2], found[3])}\n{found[4]}", text)


def main() -> None:
    """Rewrite the pages, or say which would change."""
    stale = [page for page in PAGES if filled(page.read_text(encoding="utf-8")) != page.read_text(encoding="utf-8")]
    if sys.argv[1:] == ["--check"]:
        raise SystemExit("; ".join(str(page.relative_to(ROOT)) for page in stale) or 0)
    for page in stale:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
        print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
