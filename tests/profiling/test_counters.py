from __future__ import annotations

import logging
import subprocess
import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcompress.errors import InputError
from kdcompress.profiling import COUNTERS, counters
from kdcompress.profiling.counters import macs, params, tensor_bytes
from kdcompress.results import Count


class Function(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def count_all(module: nn.Module, raw: Tensor) -> dict[str, Count]:
    return {name: COUNTERS[name](module, raw) for name in COUNTERS}


def assert_all(module: nn.Module, raw: Tensor, expected: int) -> None:
    counts = count_all(module, raw)
    assert {name: count.macs for name, count in counts.items()} == dict.fromkeys(("fvcore", "thop", "torch"), expected)
    for count in counts.values():
        assert isinstance(count.macs, int)
        assert sum(count.operators.values()) == count.macs
    assert macs(module, raw) == expected


def length(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def test_importing_the_package_does_not_import_torch():
    program = "import sys, kdcompress.profiling as p; assert len(p.COUNTERS) == 3; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 1), (1, 2, 2, 1), (2, 1, 1, 2), (1, 1, 1, 4)]
)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolution(dims, stride, padding, dilation, groups, bias):
    layer = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1](
        4, 8, 3, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=bias
    )
    out = length(9, 3, stride, padding, dilation)
    assert_all(layer, torch.randn(1, 4, *[9] * dims), 8 * (4 // groups) * 3**dims * out**dims)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "output_padding", "groups", "dilation"),
    [(4, 2, 1, 0, 1, 1), (3, 2, 1, 1, 1, 1), (4, 1, 0, 0, 1, 1), (4, 2, 1, 0, 2, 1), (3, 1, 0, 0, 1, 2)],
)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_transposed_convolution_counts_by_its_input_size(
    dims, kernel, stride, padding, output_padding, groups, dilation, bias
):
    layer = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 1](
        4, 6, kernel, stride, padding, output_padding, groups, bias, dilation
    )
    assert_all(layer, torch.randn(1, 4, *[5] * dims), 4 * (6 // groups) * kernel**dims * 5**dims)


def test_convolution_of_unequal_sides():
    out = length(7, 3, 2, 1) * length(10, 5, 1, 0)
    layer = nn.Conv2d(3, 5, (3, 5), stride=(2, 1), padding=(1, 0))
    assert_all(layer, torch.randn(1, 3, 7, 10), 5 * 3 * 15 * out)


def test_convolution_with_padding_by_name():
    assert_all(nn.Conv2d(3, 5, 3, padding="same"), torch.randn(1, 3, 6, 7), 5 * 3 * 9 * 6 * 7)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 12), (1, 7, 12), (1, 3, 7, 12)])
def test_linear(shape, bias):
    assert_all(nn.Linear(12, 5, bias=bias), torch.randn(shape), torch.Size(shape).numel() * 5)


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
def test_recurrent_net(layer):
    gates = {nn.RNN: 1, nn.GRU: 3, nn.LSTM: 4}[layer]
    weights = gates * 5 * (8 + 5) + gates * 5 * (5 + 5)

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = layer(8, 5, num_layers=2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)[0][:, -1]

    assert_all(Last(), torch.randn(1, 6, 8), 6 * weights)


# What no module computes: (function of x [1, 6, 8], MACs).
PRODUCTS = {
    "bmm": (lambda x: torch.bmm(x, x.transpose(1, 2)), 6 * 6 * 8),
    "matmul": (lambda x: x @ torch.ones(8, 5), 6 * 8 * 5),
    "broadcast matmul": (lambda x: x @ torch.ones(3, 1, 8, 5), 3 * 6 * 8 * 5),
    "matrix times vector": (lambda x: x[0] @ torch.ones(8), 6 * 8),
    "dot": (lambda x: x[0, 0] @ x[0, 1], 8),
    "mm": (lambda x: torch.mm(x[0], torch.ones(8, 5)), 6 * 8 * 5),
    "addmm": (lambda x: torch.addmm(torch.ones(5), x[0], torch.ones(8, 5)), 6 * 8 * 5),
    "baddbmm": (lambda x: torch.baddbmm(torch.ones(1, 6, 6), x, x.transpose(1, 2)), 6 * 6 * 8),
    "addbmm": (lambda x: torch.addbmm(torch.ones(6, 6), x, x.transpose(1, 2)), 6 * 6 * 8),
    "einsum": (lambda x: torch.einsum("bij,bkj->bik", x, x), 6 * 6 * 8),
    "einsum with odd sizes": (lambda x: torch.einsum("bij,jk->bik", x, torch.ones(8, 1237)), 6 * 8 * 1237),
    "attention": (lambda x: F.scaled_dot_product_attention(x[None], x[None], x[None]), 2 * 6 * 6 * 8),
    "functional conv": (lambda x: F.conv1d(x, torch.ones(3, 6, 3)), 3 * 6 * 3 * 6),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_product_that_no_module_makes_is_seen_by_fvcore_and_torch_and_missed_by_thop(name):
    function, expected = PRODUCTS[name]
    found = {counter: count.macs for counter, count in count_all(Function(function), torch.randn(1, 6, 8)).items()}
    assert found == {"fvcore": expected, "torch": expected, "thop": 0}


def test_transformer_layer_is_not_hidden_by_its_fused_kernel():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    linear, attention = 6 * (8 * 24 + 8 * 8 + 2 * 8 * 16), 2 * 6 * 6 * 8
    counts = count_all(layer, torch.randn(1, 6, 8))
    assert counts["fvcore"].macs == counts["torch"].macs == linear + attention
    assert counts["thop"].macs == 6 * 2 * 8 * 16  # the two linear modules that are called as modules
    assert counts["thop"].uncounted == {"MultiheadAttention": 1}


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm2d(4),
        nn.InstanceNorm2d(4, affine=True),
        nn.GroupNorm(2, 4),
        nn.LayerNorm([4, 6, 6]),
        nn.AvgPool2d(2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_norms_and_pooling_add_no_macs_but_are_seen_by_fvcore(layer):
    counts = count_all(layer, torch.randn(1, 4, 6, 6))
    assert all(count.macs == 0 for count in counts.values())
    assert counts["fvcore"].other_ops > 0 or counts["fvcore"].uncounted
    assert counts["thop"].other_ops > 0 or counts["thop"].uncounted == {type(layer).__name__: 1}


@pytest.mark.parametrize("layer", [nn.LeakyReLU(0.2), nn.Tanh(), nn.Sigmoid(), nn.GELU(), nn.Softplus()])
def test_activation_is_uncounted_by_fvcore_and_not_silently_dropped(layer):
    counts = count_all(nn.Sequential(layer, layer), torch.randn(1, 4))
    assert all(count.macs == 0 for count in counts.values())
    (name,) = counts["fvcore"].uncounted
    assert name.removeprefix("aten::").replace("_", "") == type(layer).__name__.lower()
    assert counts["fvcore"].uncounted[name] == 2


def test_module_called_twice_counts_twice():
    layer = nn.Linear(6, 6)
    assert_all(nn.Sequential(layer, nn.Tanh(), layer), torch.randn(1, 6), 2 * 36)


def test_module_shared_by_two_parents_counts_as_often_as_it_runs():
    layer = nn.Linear(6, 6)
    assert_all(nn.Sequential(nn.Sequential(layer, nn.Tanh()), nn.Sequential(layer)), torch.randn(1, 6), 2 * 36)


def test_parametrised_module_is_counted_by_thop():
    layer = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    count = COUNTERS["thop"](layer, torch.randn(1, 3, 5, 5))
    assert count.operators == {"Conv2d": 4 * 3 * 9 * 3 * 3}


def test_tensor_that_is_neither_parameter_nor_buffer_is_counted():
    matrix = torch.randn(8, 5)
    assert COUNTERS["fvcore"](Function(lambda x: x @ matrix), torch.randn(1, 6, 8)).macs == 6 * 8 * 5


def test_operators_are_named():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ConvTranspose2d(2, 1, 3), nn.Flatten(), nn.Linear(36, 2))
    counts = count_all(net, torch.randn(1, 1, 6, 6))
    conv = 2 * 9 * 16
    assert counts["fvcore"].operators == {"_convolution": 2 * conv, "linear": 72}
    assert counts["torch"].operators == {"aten.convolution": 2 * conv, "aten.addmm": 72}
    assert counts["thop"].operators == {"Conv2d": conv, "ConvTranspose2d": conv, "Linear": 72}


@pytest.mark.parametrize("name", ["fvcore", "thop", "torch"])
def test_counter_leaves_module_as_it_was(name):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout()).train()
    net[1].eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    COUNTERS[name](net, torch.randn(1, 1, 3, 3))  # in train mode batch norm would refuse one value per channel
    assert before.keys() == net.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert [part.training for part in net.modules()] == [True, True, False, True]
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())
    assert torch.backends.mha.get_fastpath_enabled()


def test_counters_load_and_run_silently_in_a_new_process():
    program = (
        "import torch; from kdcompress.profiling import COUNTERS;"
        "net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh());"
        "[COUNTERS[name](net, torch.ones(1, 3)) for name in COUNTERS]"
    )
    done = subprocess.run([sys.executable, "-W", "default", "-c", program], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_counters_are_silent(caplog, capsys):
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        count_all(nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Identity()), torch.randn(1, 3))
    assert caplog.text == ""
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["fvcore", "thop", "torch"])
def test_more_than_one_input_is_refused(name):
    with pytest.raises(InputError, match=r"one raw input of shape \[1, ...\]; got \[2, 3\]"):
        COUNTERS[name](nn.Linear(3, 3), torch.randn(2, 3))


def test_agpl_distribution_of_thop_is_refused(monkeypatch):
    monkeypatch.setattr(counters, "distribution", lambda name: name)
    with pytest.raises(InputError, match=r"'ultralytics-thop' \(AGPL-3.0\).*pip uninstall ultralytics-thop"):
        COUNTERS["thop"](nn.Linear(3, 3), torch.randn(1, 3))


def test_missing_thop_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "thop.profile", None)
    with pytest.raises(InputError, match=r"counter 'thop' cannot be loaded .*pip install thop"):
        COUNTERS["thop"](nn.Linear(3, 3), torch.randn(1, 3))


def test_macs_on_the_meta_device():
    with torch.device("meta"):
        net = nn.Sequential(nn.Conv2d(3, 4096, 3), nn.BatchNorm2d(4096), nn.ConvTranspose2d(4096, 3, 3)).train()
        raw = torch.empty(1, 3, 3, 3)
    net[1].eval()
    assert macs(net, raw) == 2 * 3 * 4096 * 9
    assert [part.training for part in net.modules()] == [True, True, False, True]


def test_parameters_are_counted_once_and_buffers_are_not():
    layer = nn.Linear(3, 3)
    net = nn.Sequential(layer, nn.BatchNorm1d(3), layer)
    net[1].requires_grad_(False)
    assert params(net) == 12 + 6


def test_bytes_are_those_of_parameters_and_buffers():
    layer = nn.Linear(3, 3)
    net = nn.Sequential(layer, nn.BatchNorm1d(3), layer)
    assert tensor_bytes(net) == 4 * (12 + 6 + 6) + 8  # float32, and the int64 number of batches
