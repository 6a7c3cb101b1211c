"""Slicing is right where what was cut had nothing to say: a network without its dead channels computes the same."""

import copy

import pytest
import torch
from torch import nn

from kdcompress.architectures.importance import importance
from kdcompress.architectures.narrowing import narrow, understood, verified
from kdcompress.errors import InputError
from kdcompress.students.slicing import sliced
from tests.architectures import small_nets as nets

pytest.importorskip("torch_pruning")

IMAGES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(1))
HALF = [1, 3, 4, 6]


def seeded(make, *arguments):
    torch.manual_seed(3)
    return make(*arguments).eval()


def silence(network, dead):
    """Let channels of layers put out nothing but zeros, and be the smaller ones."""
    with torch.no_grad():
        for name, gone in dead.items():
            layer = network.get_submodule(name)
            transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd) and layer.groups == 1
            own = dict(layer.named_parameters())
            for key, tensor in own.items():
                if key == "weight" and not isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d):
                    tensor *= 10
                turned = tensor.transpose(0, 1) if transposed and key == "weight" else tensor
                if layer.__class__ is nn.ConvTranspose2d and layer.groups == 2 and key == "weight":
                    for one in gone:
                        run, place = divmod(one, 4)
                        tensor[4 * run : 4 * run + 4, place] = 0
                elif isinstance(layer, nn.RNNBase):
                    own_way = gone[1] if key.endswith("_reverse") else gone[0]
                    tensor.view(-1, layer.hidden_size, *tensor.shape[1:]).mul_(3)[:, own_way] = 0
                else:
                    turned[gone] = 0


def quieten(network, quiet):
    """Let a layer hardly listen to channels that are silent anyway, where those that make them are not weighed."""
    with torch.no_grad():
        for name, gone in quiet.items():
            network.get_submodule(name).weight[:, gone] *= 1e-3


QUIET = {
    "grouped, depthwise, transposed, instance norm": {"c": HALF},
    "flattening and back": {
        "inner": [16 * one + place for one in HALF for place in range(16)],
        "back": [0, 1, 5],
    },
}
DEAD = {
    "residual": (nets.Residual, (), IMAGES, {"a": HALF, "b.0": HALF, "b.2": HALF}),
    "concatenating": (nets.Concatenating, (), IMAGES, {"a": HALF, "b": [0, 3]}),
    "splitting": (nets.Splitting, (), IMAGES, {"a": [1, 2, 4, 7], "e": [1, 2]}),
    "grouped, depthwise, transposed, instance norm": (
        nets.Grouped,
        (),
        IMAGES,
        {"a": [0, 1, 5, 7], "g": [2, 3, 4, 7], "t": HALF, "depth": HALF, "turned": HALF, "norm": HALF},
    ),
    "flattening and back": (nets.Flattening, (), IMAGES, {"a": HALF, "inner": [0, 1, 5], "back": [*range(16, 48)]}),
    "LSTM": (nets.Recurring, (nn.LSTM,), ROWS, {"first": [0, 1, 5], "cells": ([0, 2],)}),
    "GRU, both ways": (nets.Recurring, (nn.GRU, 2), ROWS, {"first": [0, 1, 5], "cells": ([0, 2], [2, 3])}),
    "RNN": (nets.Recurring, (nn.RNN,), ROWS, {"first": [0, 1, 5], "cells": ([0, 3],)}),
    "from state to state": (nets.Encoding, (), ROWS, {"inner": ([1, 2],), "outer": ([0, 1, 4],)}),
    "an encoder twice": (nets.Twice, (), IMAGES, {"encoder.0": HALF, "encoder.1": HALF, "decoder.0": HALF}),
    "added to the input": (nets.Added, (), torch.rand(2, 4, 8, 8), {"a": HALF}),
}


@pytest.mark.parametrize("name", DEAD)
def test_without_its_dead_channels_a_network_computes_the_same(name):
    make, arguments, x, dead = DEAD[name]
    network = seeded(make, *arguments)
    silence(network, dead)
    quieten(network, QUIET.get(name, {}))
    less = sliced(network, x, width=0.5)
    for layer in dead:
        full, cut = (dict(one.get_submodule(layer).named_parameters()) for one in (network, less))
        assert all(cut[key].numel() < value.numel() for key, value in full.items()), layer
    with torch.no_grad():
        one, other = network(x), less(x)
    pairs = [(one[key], other[key]) for key in one] if isinstance(one, dict) else [(one, other)]
    for full, cut in pairs:
        assert full.abs().max() > 1e-3
        torch.testing.assert_close(cut, full, rtol=1e-4, atol=1e-5)


WHOLE = {
    **{name: (make, arguments, x) for name, (make, arguments, x, _) in DEAD.items()},
    "gates, slopes, scales": (nets.Attending, (), IMAGES),
    "group norm": (nets.Normed, (), IMAGES),
    "a norm of one's own": (nets.NormedLast, (), IMAGES),
    "layer norm": (nets.Recurring, (nn.LSTM, 2, True), ROWS),
}


@pytest.mark.parametrize("name", WHOLE)
def test_slices_are_parts_of_the_tensors_and_the_shape_hangs_on_the_width_alone(name):
    make, arguments, x = WHOLE[name]
    network, another = seeded(make, *arguments), copy.deepcopy(seeded(make, *arguments))
    with torch.no_grad():
        for tensor in another.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(7)))
    for width in (0.5, 0.3):
        less = sliced(network, x, width=width)
        for key, value in less.state_dict().items():
            assert torch.isin(value, network.state_dict()[key]).all(), key
        shapes = {key: value.shape for key, value in less.state_dict().items()}
        assert shapes == {key: value.shape for key, value in sliced(another, x, width=width).state_dict().items()}
        assert shapes != {key: value.shape for key, value in network.state_dict().items()}


@pytest.mark.parametrize("name", WHOLE)
def test_at_width_1_nothing_is_cut(name):
    make, arguments, x = WHOLE[name]
    network = seeded(make, *arguments)
    same = sliced(network, x, width=1.0).state_dict()
    assert all(torch.equal(value, same[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("make", "arguments", "x", "said"),
    [
        (nets.Heads, (), ROWS, "MultiheadAttention 'heads': no rule for such a layer"),
        (nets.ShuffleNet, (2,), IMAGES, "narrow Conv2d 'blocks.0.aside': it has 8 channels there, .* moves channels"),
        (nets.ShuffleNet, (3,), IMAGES, r"narrow Conv2d 'blocks\.\d\.\S+': what it puts out is moved between channels"),
        (nets.Tied, (), ROWS[:, 0], "; the weight of Linear 'code' is read outside of it too, as tied weights are$"),
        (nets.Shuffled, (), IMAGES, "Conv2d 'b': without some of the channels before it, it computes something else"),
        (nets.Larger, (), IMAGES, "Conv2d 'c': it has 4 channels there"),
        (nets.Numbered, (), IMAGES, "Conv2d 'a': behind it, or in it, the network does not run with fewer channels"),
        (nets.Encoding, (True,), ROWS, "LSTM 'inner': bidirectional, and its last state is used"),
        (nets.Started, (), ROWS, "GRU 'cells': it is called with a given first state"),
        (nets.Shared, (), ROWS, "Linear 'a': its weight is shared with another layer$"),
        (nets.Product, (), ROWS[:, 0], r"Product '': its weight of shape \(8, 8\) is read by no layer with a rule"),
        (nets.Flattened, (), ROWS, "Linear 'last': "),
        (nn.Bilinear, (3, 3, 2), ROWS, "cannot follow the network"),
        (nn.Linear, (3, 2), ROWS[:, 0], "nothing to narrow"),
    ],
)
def test_what_cannot_be_sliced_is_refused_by_its_name(make, arguments, x, said):
    with pytest.raises(InputError, match=said):
        sliced(seeded(make, *arguments), x, width=0.5)


def test_a_layer_under_two_names_is_cut_once():
    network = seeded(nets.Residual)
    network.again = network.b
    less = sliced(network, IMAGES, width=0.5)
    assert less.again is less.b
    assert less.b[2].weight.shape == (4, 4, 3, 3)


def test_a_computed_weight_is_refused():
    first = nn.utils.parametrizations.weight_norm(nn.Linear(3, 8))
    with pytest.raises(InputError, match="ParametrizedLinear '0': its weight is computed from other tensors"):
        sliced(nn.Sequential(first, nn.Linear(8, 2)), ROWS[:, 0], width=0.5)


def test_the_most_important_channels_stay_by_torch_prunings_group_magnitude():
    network = seeded(nets.Residual)
    coupling = understood(network, IMAGES)
    (family,) = coupling.families
    weighed = importance(network, coupling)
    # By hand: the mean over all that makes or reads a channel of the sums of its squared weights.
    made = [network.a.weight, network.b[2].weight, network.up.weight, network.b[2].weight.transpose(0, 1)]
    sums = sum(one.detach().square().flatten(1).sum(1) for one in made) + network.b[0].weight.detach().square()
    expected = (sums / sums.mean()).tolist()
    index = {channel: next(at for layer, _, at in channel if layer == "a") for channel in family}
    assert [weighed[channel] for channel in family] == pytest.approx([expected[index[one]] for one in family])
    best = sorted(range(8), key=lambda at: -expected[at])[:3]
    less = copy.deepcopy(network)
    narrow(less, coupling.gone(3 / 8, weighed))
    assert torch.equal(less.a.weight, network.a.weight[sorted(best)])


def test_the_network_and_the_random_state_stay_as_they_were():
    network = seeded(nets.Residual).train()
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    sliced(network, IMAGES, width=0.3)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_an_output_of_another_shape_is_said():
    network = seeded(nets.Residual)
    coupling = understood(network, IMAGES)
    network.up = nn.ConvTranspose2d(8, 2, 4, 2, 1)
    with pytest.raises(InputError, match=r"its output 'output' would be \(2, 16, 16\), not \(1, 16, 16\)"):
        verified(network, coupling)
