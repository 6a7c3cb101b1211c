"""The threshold of a file: the bundle's, or chosen anew; and what held-out normals say of it."""

import dataclasses

import numpy as np
import pytest

from kdcompress import bundle, prediction
from kdcompress.__main__ import main
from kdcompress.data.stream import Sample
from kdcompress.errors import InputError
from kdcompress.evaluation import score
from kdcompress.evaluation.thresholds import at_quantile, false_alarms, p_values, thinned, threshold
from kdcompress.exporting.export import export
from kdcompress.exporting.exported import load
from kdcompress.exporting.limit import Limit, limited, told
from kdcompress.exporting.parity import scores
from tests.exporting.detectors import inputs, with_normals
from tests.runtime.conftest import runtime

__all__ = ["runtime"]


@pytest.fixture(scope="module")
def given(conv_ae):
    return with_normals(conv_ae)


@pytest.fixture(scope="module")
def own(conv_ae, given):
    return score(conv_ae.detector, given.normals)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (Limit(false_positive_rate=0.1), lambda own: threshold(own, 0.1)),
        (Limit(quantile=0.8), lambda own: at_quantile(own, 0.8)),
        (Limit(value=0.25), lambda own: 0.25),
    ],
)
def test_a_threshold_is_chosen_as_is_said(conv_ae, given, own, limit, expected):
    before = conv_ae.manifest.threshold
    bundle, normals = limited(conv_ae, limit, given)
    assert bundle.manifest.threshold == expected(own)
    assert conv_ae.manifest.threshold == before
    assert normals.tolist() == own.tolist()


def test_the_file_holds_the_threshold_what_it_costs_and_scores_for_p_values(conv_ae, given, own, tmp_path):
    export(conv_ae, tmp_path / "a.onnx", "onnx", given, limit=Limit(quantile=0.9, p_values=True))
    found = load(tmp_path / "a.onnx").metadata
    assert found.threshold == at_quantile(own, 0.9)
    assert found.false_alarms == false_alarms(own, found.threshold)
    assert found.normals == tuple(np.sort(own))


def test_of_eight_bits_all_are_by_the_files_own_scores(conv_ae, given, tmp_path):
    export(conv_ae, tmp_path / "a.onnx", "int8", given, limit=Limit(quantile=0.9, p_values=True))
    file = load(tmp_path / "a.onnx")
    own = scores(file, given.normals.numpy())
    assert file.metadata.false_alarms == false_alarms(own, file.metadata.threshold)
    assert file.metadata.normals == tuple(np.sort(own).astype(float))


def test_a_threshold_that_is_none_of_the_scores_was_there_before_them(conv_ae, given, own, tmp_path):
    bundle, normals = limited(conv_ae, Limit(value=0.25), given)
    export(bundle, tmp_path / "a.onnx", "onnx", given)
    metadata = load(tmp_path / "a.onnx").metadata
    assert metadata.false_alarms == false_alarms(own, 0.25)
    assert metadata.normals is None
    assert told(metadata, None, keep=True) == metadata
    without = told(dataclasses.replace(metadata, threshold=None), normals, keep=False)
    assert without.false_alarms is None


def test_what_needs_normals_says_so_where_there_are_none(conv_ae):
    without = inputs(conv_ae)
    for limit in (Limit(quantile=0.9), Limit(false_positive_rate=0.1), Limit(p_values=True)):
        with pytest.raises(InputError, match=r"need held-out normals .* --set data\.\.\., or give --threshold"):
            limited(conv_ae, limit, without)
    bundle, normals = limited(conv_ae, Limit(value=0.25), without)
    assert (bundle.manifest.threshold, normals) == (0.25, None)


def test_one_threshold_is_asked_for(conv_ae, given):
    with pytest.raises(InputError, match="give one of --false-positive-rate, --quantile, --threshold"):
        limited(conv_ae, Limit(quantile=0.9, value=1.0), given)


@pytest.mark.parametrize("count", [999, 1000, 1234, 5000])
def test_of_many_scores_some_are_kept_and_p_values_are_no_smaller(count):
    rng = np.random.default_rng(count)
    normals, new = rng.normal(size=count), rng.normal(size=300)
    kept = thinned(normals)
    assert len(kept) == 999
    few, all_of_them = p_values(kept, new), p_values(normals, new)
    assert (few >= all_of_them - 1e-12).all()
    assert (few - all_of_them).max() < 0.0011


def test_a_threshold_that_was_chosen_for_a_file_is_its_bundles_in_the_gate(conv_ae, given, tmp_path, capsys):
    bundle.save(tmp_path / "student.safetensors", conv_ae.manifest, conv_ae.pair)
    for to in ("onnx", "int8"):
        path = tmp_path / f"{to}.onnx"
        export(conv_ae, path, to, given, limit=Limit(quantile=0.7))
        with pytest.raises(SystemExit, match="0"):
            main(["parity", str(tmp_path / "student.safetensors"), str(path), "--max-flipped", "0.05"])
    assert load(path).metadata.asked_threshold == load(tmp_path / "onnx.onnx").metadata.threshold
    assert load(path).metadata.threshold != load(path).metadata.asked_threshold


def test_predict_and_the_runtime_give_the_p_values_of_the_scores_in_the_file(
    conv_ae, given, own, tmp_path, capsys, runtime
):
    export(conv_ae, tmp_path / "a.onnx", "onnx", given, limit=Limit(p_values=True))
    raw = given.raw[:5].numpy()
    detector = runtime.Detector.load(tmp_path / "a.onnx")
    expected = p_values(np.asarray(load(tmp_path / "a.onnx").metadata.normals), detector.score(raw))
    assert detector.p_value(raw).tolist() == expected.tolist()
    assert detector.p_value(given.normals.numpy()).min() == pytest.approx(1 / (1 + len(own)), rel=1)
    scoring = prediction.load(tmp_path / "a.onnx")
    found = list(prediction.predict(scoring, [Sample("x", row, one) for row, one in enumerate(raw)]))
    assert [one.p_value for one in found] == expected.tolist()


def test_a_file_without_normals_has_no_p_values(conv_ae, given, tmp_path, capsys, runtime):
    export(conv_ae, tmp_path / "a.onnx", "onnx", given)
    with pytest.raises(runtime.InputError, match="keeps no scores of held-out normals"):
        runtime.Detector.load(tmp_path / "a.onnx").p_value(given.raw[:2].numpy())
    with pytest.raises(SystemExit, match="2"):
        main(["predict", str(tmp_path / "a.onnx"), str(tmp_path), "--p-values"])
    assert "--p-values: " in capsys.readouterr().err
