from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kdcompress.exporting.graph import Traced
from kdcompress.exporting.onnx import model


def exported(network, x):
    """Return the operators of a network's graph, and how far its results are from torch's."""
    program = torch.export.export(network.eval(), (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    proto = model(Traced(program, ("score",), ("score",)), 1)
    onnx.checker.check_model(proto)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        wanted = network(x).numpy()
    (found,) = session.run(None, {"input": x.numpy()})
    assert found.shape == wanted.shape
    return Counter(node.op_type for node in proto.graph.node), float(np.abs(found - wanted).max()), proto


def images(*shape):
    return torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))


def test_a_convolution_over_all_of_its_input_is_a_product():
    operators, away, proto = exported(nn.Sequential(nn.Conv2d(3, 5, 4), nn.Flatten()), images(3, 4, 4))
    assert operators == {"Reshape": 1, "Gemm": 1}
    assert away < 1e-5
    assert [list(one.dims) for one in proto.graph.initializer if one.name == "0.weight"] == [[5, 48]]


@pytest.mark.parametrize("bias", [True, False])
def test_a_transposed_convolution_of_one_pixel_is_a_product(bias):
    operators, away, _ = exported(nn.ConvTranspose2d(6, 4, (3, 2), bias=bias), images(6, 1, 1))
    assert operators == {"Reshape": 2, "Gemm": 1}
    assert away < 1e-5


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(3, 5, 3), (3, 4, 4)),
        (nn.Conv2d(3, 5, 4, padding=1), (3, 4, 4)),
        (nn.Conv2d(4, 4, 4, groups=2), (4, 4, 4)),
        (nn.Conv2d(3, 5, 2, dilation=3), (3, 4, 4)),
        (nn.ConvTranspose2d(6, 4, 3), (6, 2, 2)),
        (nn.ConvTranspose2d(6, 4, 3, padding=1), (6, 1, 1)),
        (nn.ConvTranspose2d(6, 4, 3, groups=2), (6, 1, 1)),
        (nn.ConvTranspose2d(6, 4, 3, dilation=2), (6, 1, 1)),
        (nn.ConvTranspose2d(6, 4, 3, 2, output_padding=1), (6, 1, 1)),
    ],
    ids=str,
)
def test_other_convolutions_stay(layer, shape):
    operators, away, _ = exported(layer, images(*shape))
    assert "Gemm" not in operators
    assert away < 1e-5


def test_a_weight_that_two_layers_share_keeps_its_shape():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(2, 3, 4)

        def forward(self, x):
            return self.layer(x).flatten(1) + self.layer(-x).flatten(1)

    operators, away, _ = exported(Twice(), images(2, 4, 4))
    assert operators["Conv"] == 2
    assert away < 1e-5


@pytest.mark.parametrize(("side", "rounded_up"), [(8, 0), (7, 1)])
def test_a_pool_that_covers_its_input_is_not_told_to_round_up(side, rounded_up):
    _, away, proto = exported(nn.AvgPool2d(2, ceil_mode=True), images(2, side, side))
    (pool,) = (node for node in proto.graph.node if node.op_type == "AveragePool")
    assert {one.name: one.i for one in pool.attribute}["ceil_mode"] == rounded_up
    assert away < 1e-6


class Resized(nn.Module):
    def __init__(self, *size, antialias):
        super().__init__()
        self.size, self.antialias = size, antialias

    def forward(self, x):
        return F.interpolate(x, self.size, mode="bilinear", antialias=self.antialias, align_corners=False)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("inner", "outer"), [((28, 28), (32, 32)), ((60, 33), (16, 40))])
def test_small_images_are_resized_by_products(inner, outer, antialias):
    operators, away, _ = exported(Resized(*outer, antialias=antialias), images(2, *inner))
    assert operators == {"MatMul": 2}
    assert away < 1e-5


def test_large_images_are_resized_as_they_were():
    operators, away, _ = exported(Resized(32, 32, antialias=True), images(1, 80, 80))
    assert operators["Resize"] == 1
    assert "MatMul" not in operators
    assert away < 1e-5


class ByFactor(nn.Module):
    def forward(self, x):
        return F.interpolate(x, scale_factor=1.25, mode="bilinear")


class InDouble(nn.Module):
    def forward(self, x):
        return F.interpolate(x.double(), (7, 7), mode="bilinear", antialias=True).float()


def test_a_factor_is_not_the_ratio_of_the_sides():
    operators, away, _ = exported(ByFactor(), images(2, 10, 10))
    assert operators["Resize"] == 1
    assert away < 1e-5


def test_numbers_of_another_type_are_resized_as_they_were():
    # ONNX Runtime has no kernel to run it with.
    program = torch.export.export(InDouble(), (images(2, 10, 10),))
    proto = model(Traced(program, ("score",), ("score",)), 1)
    assert "MatMul" not in {node.op_type for node in proto.graph.node}
