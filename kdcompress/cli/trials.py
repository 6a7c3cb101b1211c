"""What a search found, on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from kdcompress.reporting import numbers
from kdcompress.reporting.search import correlation, gain, headline, settings
from kdcompress.searchdir import Found, SearchDir

_SHOWN = 10


def show(searchdir: SearchDir, found: Found) -> None:
    """Print what was chosen, the best trials by the rule, and where the report is."""
    console = Console(highlight=False)
    results = searchdir.results(searchdir.manifest()) if SearchDir.holds(searchdir.path) else {}
    console.print(f"\n[bold]{headline(found, results)}[/bold]", soft_wrap=True)
    if said := gain(found, results):
        console.print(said, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"the best by {found.rule}", title_justify="left")
    for name in ("", "settings", found.rule, "control", "MACs", "AUROC %"):
        table.add_column(name, justify="left" if name in {"", "settings"} else "right", no_wrap=name != "settings")
    best = sorted(
        (one for one in found.trials if one.student is not None and one.name in results),
        key=lambda one: -(one.student or 0),
    )
    for one in best[:_SHOWN]:
        student = results[one.name].student
        table.add_row(
            one.name,
            settings(one),
            correlation(one.student),
            correlation(one.control),
            numbers.count(student.macs),
            numbers.percent(student.auroc).removesuffix(" %"),
        )
    console.print(table)
    for what, file in (("recipe", "chosen.yaml"), ("report", "report.html")):
        if (searchdir.path / file).exists():
            console.print(f"{what:<12} {searchdir.path / file}", soft_wrap=True)
