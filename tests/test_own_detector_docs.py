"""The page's commands run as they stand there, on training that is shorter."""

import json
import shlex
from pathlib import Path

import pytest
import torch

from kdcompress.architectures.modules import MODULES
from tests import pages
from tests.plugin_files import clean

__all__ = ["clean"]

(PLUGIN,) = pages.blocks("own_detector", "python")
(RECIPE,) = pages.blocks("own_detector", "yaml")
COMMANDS = pages.commands("own_detector")


@pytest.mark.usefixtures("clean")
def test_three_commands_lead_from_a_state_dict_to_a_student_and_a_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    Path("net.py").write_text(PLUGIN)
    Path("mine.yaml").write_text(RECIPE)
    own = {}
    exec(compile(PLUGIN.replace('"net"', '"net of the page"'), "net.py", "exec"), own)
    MODULES._forget("net of the page")
    torch.manual_seed(5)
    network = own["Net"]()
    torch.save(network.state_dict(), "net.pt")
    assert [shlex.split(line)[1] for line in COMMANDS] == ["check", "distill", "report"]
    pages.run(COMMANDS, pages.settings("strategy.epochs=1"))
    result = json.loads(next(Path("runs/mine").glob("*/result.json")).read_text())
    assert result["teacher"]["params"] == sum(map(torch.numel, network.parameters()))
    assert result["compression"]["macs"] >= 20
    assert Path("compared/report.html").exists() or list(Path("compared").iterdir())
