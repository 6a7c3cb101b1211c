import copy
import dataclasses
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from scipy.stats import spearmanr

from kdcompress.data.synthetic import synthetic
from kdcompress.errors import BundleError, InputError
from kdcompress.evaluation import score
from kdcompress.exporting import onnx as ours
from kdcompress.exporting.export import ParityError, check, made
from kdcompress.exporting.exported import Exported, load
from kdcompress.exporting.inputs import Inputs, made_up, of_data
from kdcompress.exporting.parity import Limits, compare, scores
from tests.exporting.detectors import inputs


def gate(one, exported, **options):
    return compare(one.detector, one.manifest.threshold, exported, inputs(one), **options)


def edited(files, tmp_path, edit):
    """Return the exported file with an edited graph and a hash that fits it."""
    proto = onnx.load(files["onnx"])
    metadata = ours.read_metadata(proto, files["onnx"])
    edit(proto.graph)
    data = ours.sealed(proto, metadata)
    return ours.opened(data, tmp_path / "x.onnx")


def test_an_unedited_graph_passes(files, tmp_path, conv_ae):
    assert gate(conv_ae, edited(files, tmp_path, lambda graph: None)).passed


def weights(graph, kind):
    """Return a weight of the first node of a kind, as an initializer."""
    node = next(one for one in graph.node if one.op_type == kind)
    return next(one for one in graph.initializer if one.name in node.input)


def change_weight(graph):
    tensor = weights(graph, "ConvTranspose")
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] += 0.05
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def drop_scaling(graph):
    """Take what divides pixels by 127.5 away."""
    (node,) = [one for one in graph.node if one.op_type == "Div"]
    for other in graph.node:
        for place, name in enumerate(other.input):
            if name == node.output[0]:
                other.input[place] = node.input[0]
    graph.node.remove(node)


def swap_axes(graph):
    """Mirror a kernel at its diagonal."""
    tensor = weights(graph, "Conv")
    swapped = np.ascontiguousarray(numpy_helper.to_array(tensor).swapaxes(2, 3))
    tensor.CopyFrom(numpy_helper.from_array(swapped, tensor.name))


@pytest.mark.parametrize(
    ("edit", "first"),
    [
        (change_weight, "reconstruction"),
        (drop_scaling, "prepared"),
        (swap_axes, "latent"),
    ],
)
def test_a_broken_export_is_caught_and_the_first_output_that_differs_is_named(files, tmp_path, conv_ae, edit, first):
    found = gate(conv_ae, edited(files, tmp_path, edit))
    assert not found.passed
    assert found.largest > found.tolerance
    assert found.first_difference == first


def test_a_dropped_normalisation_is_caught(tmp_path, conv_ae):
    """An exporter folds it into weights, so that it is dropped before; its shift is other than at first."""
    other = copy.deepcopy(conv_ae)
    with torch.no_grad():
        other.detector.decoder[2].bias.fill_(0.1)
    without = copy.deepcopy(other)
    without.pair.detector.decoder[2] = torch.nn.Identity()
    _, exported = made(without, tmp_path / "x.pt2", "pt2")
    found = gate(other, exported)
    assert (found.passed, found.first_difference) == (False, "reconstruction")


def test_a_changed_weight_is_caught_in_pt2_too(files, conv_ae):
    other = copy.deepcopy(conv_ae)
    with torch.no_grad():
        other.detector.encoder[0].weight.mul_(1.01)
    found = gate(other, load(files["pt2"]))
    assert (found.passed, found.first_difference) == (False, "latent")


def altered(exported, change):
    """Return an exported detector with other scores."""
    return dataclasses.replace(
        exported, run=lambda raw: {**exported.run(raw), "score": change(exported.run(raw)["score"])}
    )


def test_differences_are_what_they_are(files, conv_ae):
    exported = load(files["pt2"])
    wanted = score(conv_ae.detector, inputs(conv_ae).raw)
    found = gate(conv_ae, altered(exported, lambda s: (s + 0.125).astype(np.float32)))
    assert found.largest == pytest.approx(0.125, rel=1e-4)
    assert found.mean == pytest.approx(0.125, rel=1e-4)
    assert found.tolerance == pytest.approx(1e-4 * np.median(wanted))
    assert found.spearman == pytest.approx(1)
    assert found.flipped == np.sum(
        (wanted > conv_ae.manifest.threshold) != (wanted + 0.125 > conv_ae.manifest.threshold)
    )
    assert (found.passed, found.first_difference) == (False, "score")


def test_the_rank_correlation_is_scipys(files, conv_ae):
    turned = altered(load(files["pt2"]), lambda s: (-s).astype(np.float32))
    wanted = score(conv_ae.detector, inputs(conv_ae).raw)
    assert gate(conv_ae, turned).spearman == pytest.approx(spearmanr(wanted, -wanted).statistic)


def test_the_limit_is_a_share_of_the_median(files, conv_ae):
    """Just below passes, just above fails."""
    median = float(np.median(score(conv_ae.detector, inputs(conv_ae).raw)))
    for share, off, passed in ((1e-4, 0.5e-4, True), (1e-4, 2e-4, False), (1e-3, 5e-4, True)):
        exported = altered(load(files["pt2"]), lambda s, off=off: (s + off * median).astype(np.float32))
        assert gate(conv_ae, exported, share=share).passed is passed


def test_one_score_that_is_not_finite_fails(files, conv_ae):
    def spoilt(values):
        return np.where(np.arange(len(values)) == 3, np.nan, values).astype(np.float32)

    found = gate(conv_ae, altered(load(files["pt2"]), spoilt))
    assert (found.passed, found.largest, found.spearman) == (False, np.inf, None)


def test_scores_of_another_shape_or_type_are_told(files, conv_ae):
    raw = inputs(conv_ae, 3).raw.numpy()
    for change in (lambda s: s[:, None], lambda s: s.astype(np.float64)):
        with pytest.raises(BundleError, match=r"expected float32 \[1\]"):
            scores(altered(load(files["pt2"]), change), raw)


def test_a_graph_that_mixes_its_batch_is_caught(files, conv_ae):
    """Scores of one sample alone are compared too, and batches of another size."""
    exported = altered(load(files["onnx"]), lambda s: (s + (0.1 if len(s) == 1 else 0)).astype(np.float32))
    assert not gate(conv_ae, exported).passed


def test_without_threshold_and_labels_there_are_no_decisions(files, conv_ae):
    found = compare(conv_ae.detector, None, load(files["pt2"]), inputs(conv_ae))
    assert (found.flipped, found.flipped_beyond, found.auroc, found.auroc_exported) == (None, None, None, None)


def with_threshold(exported, value):
    return dataclasses.replace(exported, metadata=dataclasses.replace(exported.metadata, threshold=value))


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_files_own_threshold_is_what_it_decides_by(files, conv_ae, kind):
    exported, own = load(files[kind]), conv_ae.manifest.threshold
    wanted = score(conv_ae.detector, inputs(conv_ae).raw)
    # Twice as high may decide all of these inputs alike; it is another threshold all the same.
    for value in (2 * own, 0.5 * own, own + 1e6):
        found = gate(conv_ae, with_threshold(exported, value))
        assert (found.passed, found.first_difference) == (False, None)
        assert found.flipped == pytest.approx(np.sum((wanted > value) != (wanted > own)), abs=1)
        assert found.broken == (f"the file's threshold is {value:.9g}, the bundle's is {own:.9g}",)
        with pytest.raises(ParityError, match=r"x: does not decide as the bundle does: the file's threshold is"):
            check(found, Path("x"))
    assert gate(conv_ae, with_threshold(exported, own + 0.5 * found.tolerance)).passed


@pytest.mark.parametrize("which", ["onnx", "int8"])
def test_a_threshold_that_only_one_side_has_fails(files, eight, conv_ae, which):
    exported = load(files["onnx"] if which == "onnx" else eight)
    for mine, its, said in ((1.5, None, "is none, the bundle's is 1.5"), (None, 1.5, "is 1.5, the bundle's is none")):
        found = compare(conv_ae.detector, mine, with_threshold(exported, its), inputs(conv_ae))
        assert (found.passed, found.flipped) == (False, None)
        assert said in found.broken[0]
    assert compare(conv_ae.detector, None, with_threshold(exported, None), inputs(conv_ae)).passed


@pytest.mark.parametrize("name", ["spearman", "flipped", "auroc_lost"])
@pytest.mark.parametrize("value", [math.nan, 1.5, -1.5, "0.5", None, True])
def test_limits_that_limit_nothing_are_refused(name, value):
    with pytest.raises(InputError, match=rf"limits: {name}: expected a number from -?\d to 1, not {value!r}"):
        Limits(**{name: value})


@pytest.mark.parametrize("share", [math.nan, math.inf, -1e-4])
def test_a_share_that_is_none_is_refused(files, conv_ae, share):
    with pytest.raises(InputError, match=f"share: expected a finite number, at least 0, not {share}"):
        gate(conv_ae, load(files["pt2"]), share=share)


def test_labels_give_both_aurocs(files, conv_ae):
    given = inputs(conv_ae, 200)
    wanted = score(conv_ae.detector, given.raw)
    labels = torch.from_numpy((wanted[:100] > np.median(wanted[:100])).astype(np.int64))
    found = compare(conv_ae.detector, None, load(files["onnx"]), Inputs(given.raw, labels, "here"))
    assert (found.auroc, found.auroc_exported) == (1.0, 1.0)


def test_inputs_of_data_are_at_least_a_thousand_and_labels_come_first():
    data = synthetic(train=80, test=60, height=8, width=8)
    found = of_data(data, "synthetic")
    assert len(found.raw) == 1000
    assert torch.equal(found.raw[:60], data.test)
    assert torch.equal(found.labels, data.labels)
    assert torch.equal(found.raw[60:80], data.validation)
    assert found.raw.dtype == torch.uint8
    assert torch.equal(found.raw, of_data(data, "synthetic").raw), "the same each time"


def test_made_up_images_fill_their_range_and_rows_that_of_the_normals(conv_ae):
    images = made_up(conv_ae.detector, (3, 9, 7), 500).raw
    assert (images.dtype, tuple(images.shape)) == (torch.uint8, (500, 3, 9, 7))
    assert images.min() < 15
    assert images.max() > 240
    from tests.exporting.detectors import small

    rows = small("mlp_ae")
    found = made_up(rows.detector, (7,), 4000).raw
    away = (found - rows.detector.mean) / rows.detector.scale
    assert away.mean(0).abs().max() < 0.15
    assert 1 < away.std() < 2


def test_a_graph_that_cannot_be_run_is_told(files, tmp_path, conv_ae):
    def flatten(graph):
        tensor = weights(graph, "Conv")
        tensor.dims[:] = [*tensor.dims[:2], 2, 8]

    with pytest.raises(BundleError, match="ONNX Runtime cannot run it"):
        gate(conv_ae, edited(files, tmp_path, flatten))


def test_an_exported_file_has_no_hidden_state(files, conv_ae):
    exported: Exported = load(files["onnx"])
    raw = inputs(conv_ae, 9).raw.numpy()
    first = exported.run(raw)["score"]
    exported.look(raw)
    assert np.array_equal(first, exported.run(raw)["score"])
