"""How much memory there is to use (no torch)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Limit and usage of a control group, and the part of its ``memory.stat`` that is cache: versions 2 and 1."""

_UNKNOWN = 4 * 2**30
"""Bytes taken for available where the system does not say."""


def available_bytes() -> int:
    """Return the memory that this process can take without making the machine swap or a limit kill it.

    Limits are those of its control group and of every group around it: a container's, a batch job's, a service's.
    """
    return min(filter(None, (_machine(), *map(_left, _groups()))), default=_UNKNOWN)


def _machine() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _groups() -> Iterator[Path]:
    """Return the folders of this process's control groups and of those around them.

    A container may see its own group at the top, under whatever path: of a path the parts that exist count.
    """
    try:
        lines = _OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        controllers, _, name = line.partition(":")[2].partition(":")
        if not controllers or "memory" in controllers.split(","):
            path = PurePosixPath("/", name)
            yield from (_GROUPS / controllers / one.relative_to("/") for one in (path, *path.parents))


def _left(group: Path) -> int | None:
    """Return the bytes below a group's limit; cache counts as free, for the system drops it before it kills."""
    for limit, usage, cache in _FILES:
        # Without a limit the first file says "max", or a number larger than any machine.
        with contextlib.suppress(OSError, ValueError):
            most, taken = (int((group / name).read_text(encoding="ascii")) for name in (limit, usage))
            stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
            return max(most - taken + int(stat.get(cache, 0)), 1)
    return None
