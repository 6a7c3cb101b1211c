"""Plug-ins for tests, and a clean slate after them."""

import textwrap

import pytest

from kdcompress import plugins
from kdcompress.architectures import ARCHITECTURES
from kdcompress.data import DATASETS
from kdcompress.losses import LOSSES
from kdcompress.profiling import COUNTERS
from kdcompress.strategies import STRATEGIES

REGISTRIES = (ARCHITECTURES, DATASETS, LOSSES, COUNTERS, STRATEGIES)

LOSS = """
    import kdcompress as kd

    @kd.LOSSES.register("{name}")
    @kd.loss(outputs=("latent",))
    def mine(own, other):
        "The mean square of the latent."
        return own.outputs["latent"].square().mean()
"""


def write(folder, file="mine.py", text=LOSS, **values):
    """Write a plug-in's file and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file
    path.write_text(textwrap.dedent(text).replace("{name}", values.get("name", "mine")))
    return path


@pytest.fixture
def clean(monkeypatch):
    """Forget after a test what was loaded in it."""
    monkeypatch.setattr(plugins, "_LOADED", [])
    monkeypatch.delenv(plugins.FOLDERS, raising=False)
    for registry in REGISTRIES:
        for name in registry:
            registry[name]
        monkeypatch.setattr(registry, "_items", dict(registry._items))
        monkeypatch.setattr(registry, "_descriptions", dict(registry._descriptions))
