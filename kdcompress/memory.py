"""How much memory there is to use (no torch)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
"""Limit and usage of this process's control group, of version 2 and 1: a container sees its own at these places."""

_UNKNOWN = 4 * 2**30
"""Bytes taken for available where the system does not say."""


def available_bytes() -> int:
    """Return the memory that this process can take without making the machine swap or its container kill it."""
    return min(filter(None, (_machine(), *(_group(*files) for files in _CGROUPS))), default=_UNKNOWN)


def _machine() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _group(limit: Path, usage: Path) -> int | None:
    # Without a limit the first file says "max", or a number larger than any machine.
    with contextlib.suppress(OSError, ValueError):
        return max(int(limit.read_text(encoding="ascii")) - int(usage.read_text(encoding="ascii")), 1)
    return None
