"""``python -m kdcompress.contracts FILE... [pytest's options]``: does what plug-ins register keep the contracts?"""

from __future__ import annotations

import os
import sys
from pathlib import Path

USAGE = "usage: python -m kdcompress.contracts FILE.py [FILE.py ...] [--input SHAPE] [pytest's options]"


def main(arguments: list[str]) -> int:
    """Run the contract tests over plug-ins and return pytest's exit code."""
    files = [one for one in arguments if one.endswith(".py")]
    if not files:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        import pytest
    except ImportError:
        print("the contract tests need pytest: pip install 'kdcompress[test]'", file=sys.stderr)
        return 2
    given = [part for file in files for part in ("--plugin", file)]
    rest = [one for one in arguments if one not in files]
    # The author's own pytest settings are for his own tests.
    own = ["-c", os.devnull, "-p", "no:cacheprovider", "--quiet"]
    return int(pytest.main([str(Path(__file__).parent), *own, *given, *rest]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
