"""What a run computes with: versions and machine, for whoever has to judge or repeat its figures."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kdcompress import __version__
from kdcompress.errors import KdcompressError
from kdcompress.rundir import write_atomic

_LIBRARIES = ("torch", "torchvision", "numpy", "scikit-learn", "scipy", "fvcore", "thop", "safetensors")


def describe(device: torch.device, threads: int, plugins: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    """Return the environment of a run that starts now; ``plans`` fills as stages begin.

    Plug-ins are given by name, with the hash of their content.
    """
    return {
        "kdcompress": __version__,
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "plugins": dict(plugins or {}),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "plans": {},
    }


def machine(environment: Mapping[str, Any]) -> dict[str, str | int]:
    """Return the part of an environment that decides about time."""
    named = {key: environment[key] for key in ("processor", "cpu_capability", "cpus", "threads", "device_name")}
    return {**named, "torch": environment["libraries"]["torch"]}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _file() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("KDCOMPRESS_CACHE") or Path(home) / "kdcompress") / "plans.json"


def known_plans() -> dict[str, Any]:
    """Return what was measured on this machine before; nothing where that cannot be read."""
    try:
        plain = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


def remember_plans(plans: dict[str, Any]) -> None:
    """Keep measurements for later runs; a cache that cannot be written is no reason to stop."""
    try:
        write_atomic(_file(), json.dumps(plans, indent=1).encode())
    except KdcompressError:
        return
