"""Pages of the docs, whose commands tests run as they stand there."""

import re
import shlex
from pathlib import Path

import pytest

from kdcompress.__main__ import main

DOCS = Path(__file__).parent.parent / "docs"


def blocks(page, language):
    """Return the blocks of code in a page."""
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL)


def commands(page):
    """Return the lines of all of a page's shell blocks."""
    return [line for block in blocks(page, "sh") for line in block.splitlines()]


def run(lines, more=lambda words: ()):
    """Run a page's commands in the current folder, in their order, each with the words that ``more`` adds to it."""
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "kdcompress", line
        words += more(words)
        found = [str(path) for word in words for path in (sorted(Path().glob(word)) if "*" in word else [word])]
        with pytest.raises(SystemExit, match="^0$"):
            main(found)


def settings(*given):
    """Return overrides of a recipe as a command's words, for the command `distill` alone."""
    return lambda words: [part for one in given for part in ("--set", one)] if words[0] == "distill" else []
