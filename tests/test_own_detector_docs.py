"""The page's commands run as they stand there, on training that is shorter."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch

from kdcompress.__main__ import main
from kdcompress.architectures.modules import MODULES
from tests.plugin_files import clean

__all__ = ["clean"]

PAGE = (Path(__file__).parent.parent / "docs" / "own_detector.md").read_text(encoding="utf-8")
(PLUGIN,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(RECIPE,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
(COMMANDS,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


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
    lines = COMMANDS.splitlines()
    assert [shlex.split(line)[1] for line in lines] == ["check", "distill", "report"]
    for line in lines:
        _, *words = shlex.split(line)
        words += ["--set", "strategy.epochs=1"] if words[0] == "distill" else []
        with pytest.raises(SystemExit, match="0"):
            main(words)
    result = json.loads(next(Path("runs/mine").glob("*/result.json")).read_text())
    assert result["teacher"]["params"] == sum(map(torch.numel, network.parameters()))
    assert result["compression"]["macs"] >= 20
    assert Path("compared/report.html").exists() or list(Path("compared").iterdir())
