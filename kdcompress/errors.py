"""The errors that kdcompress raises on purpose."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

_LONGEST = 80


class KdcompressError(Exception):
    """Anything that kdcompress can explain; the command line shows it without a traceback."""

    exit_code = 1


class InputError(KdcompressError):
    """The user's input is wrong: a recipe, an option, a file or a device (exit code 2)."""

    exit_code = 2


class RecipeError(InputError):
    """A recipe has one or more problems; all of them are in the message.

    ``sections`` is the recipe's content where its structure is wrong, for whoever looks for more problems in it.
    """

    def __init__(self, where: str, problems: Sequence[str], sections: Mapping[str, object] | None = None) -> None:
        self.where = where
        self.problems = tuple(problems)
        self.sections = sections
        super().__init__("\n".join(f"{where}: {problem}" for problem in problems))

    def __reduce__(self) -> tuple[type[RecipeError], tuple[str, tuple[str, ...]]]:
        """Travel between processes: an exception is otherwise made again from its message alone."""
        return type(self), (self.where, self.problems)


class DataError(InputError):
    """Data are missing, damaged or do not fit what was asked of them."""


class MissingDataError(DataError):
    """A published set is not on this machine, and was not to be had."""


class BundleError(InputError):
    """A saved detector cannot be read or does not fit."""


class ScoreError(KdcompressError):
    """Scores from which nothing can be concluded: not finite, or all the same."""


def near(name: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest allowed name, or an empty string."""
    spelled = {one.casefold(): one for one in allowed}
    close = difflib.get_close_matches(name[:_LONGEST].casefold(), list(spelled), n=1, cutoff=0.5)
    return f"; did you mean '{spelled[close[0]]}'?" if close else ""


def unknown(kind: str, name: str, allowed: Iterable[str]) -> str:
    """Say that a name is not known, what the nearest one is and which ones exist."""
    names = sorted(allowed)
    listed = ", ".join(names) if names else "none"
    shown = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."
    return f"unknown {kind} '{shown}'{near(name, names)} (allowed: {listed})"
