"""How numbers are written for people: one unit, one precision, and a dash for what is not known."""

from __future__ import annotations

import math
from collections.abc import Sequence

DASH = "–"
MINUS = "\N{MINUS SIGN}"


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _three_digits(value: float) -> str:
    """Three significant digits without exponent: 6.25, 24.4, 231, 4,120."""
    size = abs(value)
    decimals = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def percent(fraction: float | None) -> str:
    """0.962 -> ``96.20 %``."""
    if fraction is None or not math.isfinite(fraction):
        return DASH
    return f"{100 * fraction:.2f} %"


def interval(bounds: Sequence[float] | None) -> str:
    """(0.951, 0.973) -> ``95.10 to 97.30 %``."""
    if bounds is None or not all(map(math.isfinite, bounds)):
        return DASH
    low, high = bounds
    return f"{100 * low:.2f} to {100 * high:.2f} %"


def signed(fraction: float | None) -> str:
    """A difference of fractions in points, with its sign and without the word: 0.012 -> ``+1.20``."""
    if fraction is None or not math.isfinite(fraction):
        return DASH
    text = f"{100 * fraction:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", MINUS)


def points(fraction: float | None) -> str:
    """0.012 -> ``+1.20 points``."""
    return f"{signed(fraction)} points" if _known(fraction) else DASH


def distance(fraction: float) -> str:
    """The size of a difference: -0.012 -> ``1.20 points``."""
    return f"{abs(100 * fraction):.2f} points"


def signed_interval(bounds: Sequence[float] | None) -> str:
    """(0.004, 0.02) -> ``+0.40 to +2.00``."""
    if bounds is None or not all(map(math.isfinite, bounds)):
        return DASH
    low, high = bounds
    return f"{signed(low)} to {signed(high)}"


def _scaled(value: float, prefixes: Sequence[str]) -> str:
    """Write a number with the largest decimal prefix that keeps it at 1 or more."""
    step = 0
    # 999.5 and more would be rounded to a fourth digit, so it takes the next prefix.
    while abs(value) >= 999.5 and step < len(prefixes) - 1:
        value, step = value / 1000, step + 1
    number = f"{value:g}" if step == 0 and value == round(value) else _three_digits(value)
    return f"{number} {prefixes[step]}".rstrip()


def count(value: float | None) -> str:
    """52 800 000 -> ``52.8 M``; none are a dash: a forest has no products, and those of a foreign model are unknown."""
    if value is None or not math.isfinite(value) or value == 0:
        return DASH
    return _scaled(value, ("", "k", "M", "G", "T", "P"))


def tick(value: float) -> str:
    """`count` for an axis, where the ticks are round: 10 000 000 -> ``10 M``."""
    step = 0
    while abs(value) >= 1000 and step < 5:
        value, step = value / 1000, step + 1
    return f"{value:g} {('', 'k', 'M', 'G', 'T', 'P')[step]}".rstrip()


def macs(value: float | None) -> str:
    """52 800 000 -> ``52.8 M MACs``."""
    return f"{count(value)} MACs" if _known(value) else DASH


def size(value: float | None) -> str:
    """Bytes with decimal prefixes: 363 000 -> ``363 kB``."""
    if value is None or not math.isfinite(value):
        return DASH
    return _scaled(value, ("B", "kB", "MB", "GB", "TB"))


def times(value: float) -> str:
    """A ratio as a factor: 231.3 -> ``231``."""
    return _three_digits(value)


def ratio(value: float | None) -> str:
    """231.3 -> ``231 : 1``."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{_three_digits(value)} : 1"


def milliseconds(value: float | None) -> str:
    """0.0452 -> ``0.045 ms``; three digits also below one."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:.3f} ms" if abs(value) < 1 else f"{_three_digits(value)} ms"


def seconds(value: float | None) -> str:
    """92.4 -> ``1 min 32 s``."""
    if value is None or not math.isfinite(value):
        return DASH
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def decimal(value: float | None) -> str:
    """A score or a correlation: four significant digits, no unit."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:.4g}".replace("e-", f"e{MINUS}").replace("-", MINUS)


def whole(value: int | None) -> str:
    """12345 -> ``12,345``."""
    return DASH if value is None else f"{value:,}"
