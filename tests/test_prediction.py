import re

import numpy as np
import pytest

from kdcompress import bundle
from kdcompress.data.streamed import Sample
from kdcompress.exporting.export import export
from kdcompress.exporting.metadata import Input
from kdcompress.prediction import Scoring, load, predict
from tests.exporting.detectors import inputs, small


@pytest.fixture(scope="module")
def targets(files, conv_ae, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "a.safetensors"
    bundle.save(path, conv_ae.manifest, conv_ae.pair)
    return {**files, "bundle": path}


@pytest.fixture(scope="module")
def row_targets(tmp_path_factory):
    """Those of a detector that takes rows of seven numbers."""
    folder, one = tmp_path_factory.mktemp("rows"), small("mlp_ae")
    for kind in ("onnx", "pt2"):
        export(one, folder / f"a.{kind}", kind, inputs(one))
    bundle.save(folder / "a.safetensors", one.manifest, one.pair)
    return {
        kind: folder / f"a.{ending}" for kind, ending in (("onnx", "onnx"), ("pt2", "pt2"), ("bundle", "safetensors"))
    }


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


@pytest.mark.parametrize("kind", ["onnx", "pt2", "bundle"])
@pytest.mark.parametrize("value", [1e38, -1e38])
def test_a_score_that_is_not_finite_makes_a_bad_sample_of_its_row_alone(row_targets, kind, value):
    rows = np.zeros((3, 7), np.float32)
    rows[1, 2] = value
    found = list(predict(load(row_targets[kind]), (Sample("t.csv", row, one) for row, one in enumerate(rows))))
    assert [one.score is None for one in found] == [False, True, False]
    assert [one.decision is None for one in found] == [False, True, False]
    assert re.search("t.csv: row 1: its score is (inf|nan), expected a finite number", found[1].sample.problem)


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
def test_an_image_without_a_finite_score_is_named_by_its_file(score):
    scoring = Scoring(Input("image", (1, 2, 2), "uint8"), 0.5, lambda raw: np.full(len(raw), score))
    (found,) = predict(scoring, [Sample("a.png", None, np.zeros((1, 2, 2), np.uint8))])
    assert (found.score, found.decision) == (None, None)
    assert found.sample.problem.startswith(f"a.png: its score is {score:g}")
