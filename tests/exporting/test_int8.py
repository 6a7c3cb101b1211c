import dataclasses

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from scipy.stats import spearmanr

from kdcompress.errors import InputError
from kdcompress.evaluation import score
from kdcompress.exporting.calibrated import calibrated
from kdcompress.exporting.export import ParityError, export, made
from kdcompress.exporting.exported import load
from kdcompress.exporting.inputs import Inputs
from kdcompress.exporting.parity import LIMITS, Limits, compare, scores
from tests.exporting.detectors import SMALL, inputs, small, with_normals

HAVE_LAYERS = {name for name in SMALL if not name.startswith(("prototypes", "nearest_neighbours", "isolation_forest"))}
EACH = [
    name if name == "mlp_ae" else pytest.param(name, marks=pytest.mark.slow) for name in SMALL if name in HAVE_LAYERS
]


def eight(one, plain, folder, given, limits):
    return calibrated(one, plain, folder / "x", given, score(one.detector, given.normals), limits)


@pytest.mark.parametrize("name", EACH)
def test_every_family_with_layers_keeps_its_order_and_gets_smaller(tmp_path, name):
    one = small(name)
    # Nothing here is trained, and half of its decisions are made among scores that lie close together.
    outputs = ("reconstruction",) if name == "mlp_ae" else ()
    found = export(one, tmp_path / "x.int8.onnx", "int8", with_normals(one), outputs, limits=Limits(flipped=0.05))
    assert found.spearman >= 0.99
    exported = load(tmp_path / "x.int8.onnx")
    said = exported.metadata.quantisation
    assert said.layers
    assert not set(said.layers) & set(said.in_float)
    if name == "mlp_ae":
        raw = inputs(one, 20).raw
        ran = exported.run(raw.numpy())
        error = (ran["reconstruction"] - one.detector.prepare(raw).numpy()) ** 2
        assert ran["score"] == pytest.approx(error.mean(1), rel=1e-5), "the output is what the score is made of"
        assert (tmp_path / "x.int8.onnx").stat().st_size < 0.6 * len(made(one, tmp_path / "x.onnx", "onnx")[0])


@pytest.mark.parametrize(
    "name",
    ["prototypes", *(pytest.param(one, marks=pytest.mark.slow) for one in ("nearest_neighbours", "isolation_forest"))],
)
def test_distances_and_trees_have_nothing_to_put_in_eight_bits(tmp_path, name):
    one = small(name)
    with pytest.raises(InputError, match=r"has no layers to put in eight bits.*--to onnx"):
        export(one, tmp_path / "x.int8.onnx", "int8", with_normals(one))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_whitened_distance_stays_in_float(tmp_path):
    """It is the score's arithmetic, though it has a name and a weight."""
    one = small("transform_net combined")
    plain, _ = made(one, tmp_path / "x", "onnx")
    given = with_normals(one, 300)
    found = eight(one, plain, tmp_path, given, Limits(spearman=0)).exported.metadata.quantisation
    assert "metric" not in (*found.layers, *found.in_float)
    assert "network.0" in found.layers


def test_weights_are_symmetric_by_channel_and_use_seven_bits(eight, files):
    constants, floats = (
        {one.name: numpy_helper.to_array(one) for one in onnx.load(file).graph.initializer}
        for file in (eight, files["onnx"])
    )
    weights = {key: value for key, value in constants.items() if key.endswith(".weight_quantized")}
    assert len(weights) == 4
    for name, found in weights.items():
        plain = name.removesuffix("_quantized")
        wanted, step = floats[plain], constants[f"{plain}_scale"]
        axis = 1 if "decoder.4" in name else 0
        assert step.shape == (wanted.shape[axis],), "one step for each channel that comes out"
        assert not constants[f"{plain}_zero_point"].any()
        assert found.dtype == np.int8
        assert np.abs(found.astype(int)).max() == 64
        wide = step.reshape([-1 if place == axis else 1 for place in range(wanted.ndim)])
        assert np.abs(found * wide - wanted).max() <= 0.5 * step.max() * (1 + 1e-5)


def test_preparation_and_the_score_stay_in_float(eight, conv_ae, files):
    raw = inputs(conv_ae, 50).raw.numpy()
    found, plain = load(eight).look(raw), load(files["onnx"]).look(raw)
    assert np.array_equal(found["prepared"], plain["prepared"]), "pixels are scaled in float"
    error = (found["reconstruction"].astype(float) - found["prepared"]) ** 2
    assert load(eight).run(raw)["score"] == pytest.approx(error.mean((1, 2, 3)), rel=1e-5)
    assert not np.allclose(found["reconstruction"], plain["reconstruction"], atol=1e-5), "the network is rounded"


def test_the_file_says_what_is_in_eight_bits(eight):
    said = load(eight).metadata.quantisation
    assert said.layers == ("encoder.0", "encoder.2", "decoder.1", "decoder.4")
    assert said.in_float == ()
    assert said.computed_in_float == ("decoder.4",), "the first is a product: its input is a single pixel"
    assert said.calibrated_on == "333 held-out normals"


def test_onnxruntime_computes_layers_in_integers_but_transposed_convolutions(eight, tmp_path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "seen.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(eight), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "seen.onnx").graph.node]
    # The encoder's last convolution and the decoder's first are products.
    assert (kinds.count("QLinearConv"), kinds.count("QGemm")) == (1, 2)
    assert kinds.count("ConvTranspose") == 1
    assert not {"Conv", "Gemm", "MatMul"} & set(kinds)


def test_as_many_normals_lie_above_its_threshold_as_above_the_bundles(eight, conv_ae):
    normals = with_normals(conv_ae).normals
    wanted = int((score(conv_ae.detector, normals) > conv_ae.manifest.threshold).sum())
    exported = load(eight)
    assert 0 < wanted < len(normals)
    assert int((scores(exported, normals.numpy()) > exported.metadata.threshold).sum()) == wanted
    assert exported.metadata.threshold != conv_ae.manifest.threshold


def test_layers_stay_in_float_until_the_order_is_kept(tmp_path):
    one = small("ede_gan")
    plain, exported = made(one, tmp_path / "x", "onnx")
    given = with_normals(one, 300)
    found = eight(one, plain, tmp_path, given, Limits(spearman=0.999))
    order = spearmanr(scores(found.exported, given.raw.numpy()), scores(exported, given.raw.numpy())).statistic
    assert order >= 0.999
    said = found.exported.metadata.quantisation
    assert said.in_float
    assert set(said.costs) == {*said.layers, *said.in_float}
    assert min(said.costs[name] for name in said.in_float) >= max(said.costs[name] for name in said.layers)
    constants = {one.name for one in onnx.load_model_from_string(found.data).graph.initializer}
    for name in said.layers:
        assert f"scorer.detector.{name}.weight_quantized" in constants
    for name in said.in_float:
        assert f"scorer.detector.{name}.weight" in constants
        assert f"scorer.detector.{name}.weight_quantized" not in constants


def test_neither_test_samples_nor_labels_change_the_file(conv_ae, files, tmp_path):
    plain = files["onnx"].read_bytes()
    raw = inputs(conv_ae, 300).raw
    labels = torch.arange(100) % 2
    one = Inputs(raw, labels, "here", raw[100:200])
    other = Inputs(torch.cat([255 - raw[:100], raw[100:]]), 1 - labels, "here", raw[100:200])
    first, second = (eight(conv_ae, plain, tmp_path, given, LIMITS).data for given in (one, other))
    assert first == second
    third = eight(conv_ae, plain, tmp_path, dataclasses.replace(one, normals=raw[100:150]), LIMITS).data
    assert third != first


@pytest.mark.parametrize("normals", [None, torch.zeros(0, 1, 12, 10, dtype=torch.uint8)])
def test_without_held_out_normals_there_is_no_calibration(conv_ae, tmp_path, normals):
    given = dataclasses.replace(inputs(conv_ae), normals=normals)
    with pytest.raises(InputError, match=r"calibration needs held-out normals.*not on this machine.*--set data"):
        export(conv_ae, tmp_path / "x.int8.onnx", "int8", given)
    assert not list(tmp_path.iterdir())


def test_a_file_that_was_calibrated_on_darker_images_is_refused(tmp_path):
    """Values beyond those of calibration are cut off; on others the same detector passes, above."""
    one = small("score_net")
    raw = inputs(one).raw
    wanted = score(one.detector, raw)
    labels = torch.from_numpy((wanted > np.median(wanted)).astype(np.int64))
    given = Inputs(raw, labels, "here", raw[:300] // 64)
    path = tmp_path / "x.int8.onnx"
    path.write_bytes(b"before")
    said = (
        r"of decisions flipped, 3\.0% are allowed.*AUROC lost, 0\.30 are allowed.*'network\.\d' \(\w+\) costs most, 0"
    )
    with pytest.raises(ParityError, match=said):
        export(one, path, "int8", given)
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"before"]


def altered(path, change, threshold):
    """Return a file with other scores and another threshold."""
    exported = load(path)
    metadata = dataclasses.replace(exported.metadata, threshold=threshold)
    run = exported.run
    return dataclasses.replace(exported, metadata=metadata, run=lambda raw: {"score": change(run(raw)["score"])})


@pytest.fixture(scope="module")
def judged(eight, conv_ae):
    """What the gate says of altered scores; labels split them at the median."""
    given = inputs(conv_ae, 400)
    wanted = score(conv_ae.detector, given.raw)
    labels = torch.from_numpy((wanted > np.median(wanted)).astype(np.int64))
    given = Inputs(given.raw, labels, "here")

    def gate(change, threshold, limits=LIMITS):
        exported = altered(eight, change, threshold)
        return compare(conv_ae.detector, conv_ae.manifest.threshold, exported, given, limits=limits)

    return gate


def test_scores_of_another_unit_pass_where_the_threshold_goes_with_them(judged, eight):
    limit = load(eight).metadata.threshold
    wanted = judged(lambda s: s, limit)
    found = judged(lambda s: 8 * s, 8 * limit)
    assert wanted.passed
    assert (found.passed, found.flipped, found.spearman) == (True, wanted.flipped, wanted.spearman)
    assert found.largest > found.tolerance, "it is not the float gate"
    assert found.first_difference is None


def test_each_limit_alone_fails(judged, eight):
    limit = load(eight).metadata.threshold
    found = judged(lambda s: s, 0.5 * limit)
    assert not found.passed
    assert [one.split(",")[0].split(" ", 1)[1] for one in found.broken] == ["of decisions flipped"]
    assert judged(lambda s: s, 0.5 * limit, Limits(flipped=1)).passed
    found = judged(lambda s: -s, -limit, Limits(flipped=1, auroc_lost=1))
    assert found.broken == (f"rank correlation {found.spearman:.4f}, at least 0.99 is wanted (--min-spearman)",)
    found = judged(lambda s: -s, -limit, Limits(spearman=-1, flipped=1))
    lost = 100 * (found.auroc - found.auroc_exported)
    assert found.broken == (f"{lost:.2f} points of AUROC lost, 0.30 are allowed (--max-auroc-lost)",)


@pytest.mark.parametrize("change", [np.zeros_like, lambda s: np.where(s > 0, np.float32("nan"), s)])
def test_scores_without_an_order_fail(judged, change):
    found = judged(change, 0.0)
    assert found.spearman is None
    assert found.broken[0].startswith("rank correlation none")
