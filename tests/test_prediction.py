import numpy as np
import pytest

from kdcompress import bundle
from kdcompress.data.stream import Sample
from kdcompress.errors import ScoreError
from kdcompress.exporting.export import export
from kdcompress.prediction import load, predict
from tests.exporting.detectors import inputs, small


@pytest.fixture(scope="module")
def targets(files, conv_ae, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "a.safetensors"
    bundle.save(path, conv_ae.manifest, conv_ae.pair)
    return {**files, "bundle": path}


@pytest.mark.parametrize("kind", ["onnx", "pt2", "bundle"])
def test_every_form_of_a_detector_scores_and_decides_alike(targets, conv_ae, kind):
    raw = inputs(conv_ae, 130).raw
    scoring = load(targets[kind])
    found = list(predict(scoring, (Sample("t", row, one.numpy()) for row, one in enumerate(raw))))
    wanted = conv_ae.detector.score(raw).double().numpy()
    assert [one.sample.row for one in found] == list(range(130))
    assert [one.score for one in found] == pytest.approx(wanted.tolist(), rel=1e-5)
    assert [one.decision for one in found] == (wanted > conv_ae.manifest.threshold).astype(int).tolist()


def test_bad_samples_keep_their_place_and_get_no_score(targets):
    good = np.zeros((1, 12, 10), np.uint8)
    given = [Sample("a", None, None, "bad"), Sample("b", None, good), Sample("c", None, None, "bad")]
    found = list(predict(load(targets["onnx"]), given))
    assert [one.score is None for one in found] == [True, False, True]
    assert [one.decision is None for one in found] == [True, False, True]
    assert not [one for one in predict(load(targets["onnx"]), given[:1]) if one.score is not None]


def test_samples_are_not_gathered_before_they_are_scored(targets):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield Sample("x", len(taken), np.zeros((1, 12, 10), np.uint8))

    assert next(predict(load(targets["onnx"]), endless())).score is not None
    assert len(taken) == 64


def test_a_score_that_is_not_finite_is_no_score_of_an_exported_file_either(tmp_path):
    one = small("mlp_ae")
    export(one, tmp_path / "rows.onnx", "onnx", inputs(one))
    large = Sample("t", 1, np.full(7, 3e38, np.float32))
    with pytest.raises(ScoreError, match=r"rows\.onnx: 1 of 2 scores are not finite \(samples 1\)"):
        list(predict(load(tmp_path / "rows.onnx"), [Sample("t", 0, np.zeros(7, np.float32)), large]))
