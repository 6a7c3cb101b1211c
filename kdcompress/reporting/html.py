"""The report of one run as one self-contained HTML file: no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from kdcompress.reporting import gallery, plots, sections, training, verdict
from kdcompress.reporting.canvas import Plot
from kdcompress.reporting.record import ARMS, RunRecord

ARM_OF_LABEL = {name.replace("_", " "): name.replace("_", "-") for name in ARMS} | {"detector": "student"}


def html(record: RunRecord) -> str:
    """Render the report: verdict, key figures, plots, images, tables, recipe."""
    result = record.result
    first, *others = sections.tables(record)
    return page(
        "report.html.j2",
        result=result,
        verdict=verdict.verdict(result),
        facts=verdict.facts(result),
        cautions=verdict.cautions(result),
        comparison=first,
        tables=others,
        recipe=record.recipe,
        panels=gallery.gallery(record),
        panels_note=gallery.NOTE,
        plots=drawn(record),
    )


def drawn(record: RunRecord) -> tuple[Plot, ...]:
    """Return the plots of one run."""
    return (
        plots.compression(record.result),
        plots.roc(record),
        plots.histograms(record),
        training.training(record.history),
    )


def page(template: str, **content: object) -> str:
    """Render one of this package's templates; every text is escaped, the plots are inserted as they are."""
    return _environment().get_template(template).render(arm_of_label=ARM_OF_LABEL, **content)


def _unbroken(value: object) -> object:
    """Keep a number and its unit on one line; what is markup already stays as it is."""
    return re.sub(r"(?<=\d) (?=%|points|MACs|: 1|ms\b)", "\N{NO-BREAK SPACE}", value) if type(value) is str else value


@cache
def _environment() -> Environment:
    loader = PackageLoader("kdcompress.reporting", ".")
    return Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_unbroken,
        trim_blocks=True,
        lstrip_blocks=True,
    )
