"""The pages of what is shown on real data: their commands run as they stand there, on a slice, in short training."""

import os
import shutil
from pathlib import Path

import pytest

from tests import pages

DATA = Path(os.environ.get("KDCOMPRESS_DATA", "data"))
SHORTER = {
    "images": ("strategy.epochs=1", "teacher.architecture.patches=64", "data.size=32"),
    "tables": ("strategy.epochs=1", "data.most=200"),
    "series": ("strategy.epochs=1", "teacher.strategy.epochs=1", "data.stride=48"),
}
NEEDS = {"images": "mvtec_layout/screw", "tables": "adbench", "series": "nab"}


def slice_of(source, target):
    for folder in (path for path in source.rglob("*") if path.is_dir()):
        images = sorted(folder.glob("*.png"))[:12]
        (target / folder.relative_to(source)).mkdir(parents=True, exist_ok=True)
        for image in images:
            shutil.copy(image, target / image.relative_to(source))


@pytest.mark.parametrize("page", NEEDS)
def test_its_commands_lead_to_a_report(page, tmp_path, monkeypatch):
    source = (DATA / NEEDS[page]).absolute()
    if not source.exists():
        pytest.skip(f"{NEEDS[page]} is not in KDCOMPRESS_DATA")
    monkeypatch.setenv("KDCOMPRESS_DATA", str(DATA.absolute()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    if page == "images":
        slice_of(source, tmp_path / "screw")
    pages.run(pages.commands(page), pages.settings(*SHORTER[page]))
    assert "AUROC" in (tmp_path / "compared" / "report.md").read_text()
