"""The page's recipe and commands run as they stand there, on a stand-in with the results of anomalib's file."""

from pathlib import Path

import numpy as np
import onnx
import torch
from PIL import Image
from torch import nn

from tests import pages

(PYTHON,) = pages.blocks("anomalib", "python")
(RECIPE,) = pages.blocks("anomalib", "yaml")


class Stand(nn.Module):
    """Results by anomalib's names and shapes: how far each pixel is from grey."""

    def forward(self, x):
        anomaly_map = (x - 0.5).square().mean(1, keepdim=True)
        pred_score = anomaly_map.amax((1, 2, 3)).unsqueeze(1)
        return pred_score, pred_score > 0.2, anomaly_map, anomaly_map > 0.2


def write_model():
    names = ["pred_score", "pred_label", "anomaly_map", "pred_mask"]
    given = torch.zeros(1, 3, 32, 32)
    program = torch.onnx.export(
        Stand().eval(), (given,), dynamo=True, input_names=["input"], output_names=names, dynamic_shapes=[{0: "batch"}]
    )
    onnx.save(program.model_proto, "padim.onnx")


def write_images():
    random = np.random.default_rng(0)
    for folder, count in (("train/good", 24), ("test/good", 8), ("test/bent", 8)):
        (Path("screw") / folder).mkdir(parents=True)
        for index in range(count):
            image = random.integers(90, 170, (32, 32), dtype=np.uint8)
            if folder == "test/bent":
                image[8:16, 8:16] = 255
            Image.fromarray(image).save(Path("screw") / folder / f"{index}.png")


def test_its_script_is_python():
    compile(PYTHON, "padim.py", "exec")


def test_its_commands_lead_to_a_student_with_maps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    write_model()
    write_images()
    Path("padim.yaml").write_text(RECIPE.replace("128", "32"))
    pages.run(pages.commands("anomalib"), pages.settings("strategy.epochs=1"))
    results = [one.name for one in onnx.load("device/student.onnx").graph.output]
    assert results == ["score", "anomaly_map"]
