"""Detectors that scikit-learn fitted and skops saved."""

import copy
import json
import os
import pickle
import sys
import zipfile

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import OneClassSVM

import kdcompress as kd
from kdcompress import bundle, signature
from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.skops_file import TRUSTED
from kdcompress.bundle import Manifest
from kdcompress.errors import BundleError, InputError
from kdcompress.evaluation import score
from kdcompress.exporting.export import export
from kdcompress.exporting.source import inputs_for

sio = pytest.importorskip("skops.io")

ROWS = torch.randn(80, 5, generator=torch.Generator().manual_seed(1))
TREE = ("sklearn.tree._tree.Tree",)
FOREST = IsolationForest(n_estimators=7, random_state=0).fit(ROWS.double().numpy())
FITTED = {
    "forest": (FOREST, TREE),
    "neighbours": (
        LocalOutlierFactor(novelty=True).fit(ROWS.numpy()),
        ("sklearn.neighbors._kd_tree.KDTree", "sklearn.metrics._dist_metrics.EuclideanDistance64"),
    ),
    "support vectors": (OneClassSVM(nu=0.2).fit(ROWS.numpy()), ()),
    "pipeline": (make_pipeline(StandardScaler(), OneClassSVM(nu=0.2)).fit(ROWS.numpy()), ()),
}
EVIL = make_pipeline(FunctionTransformer(os.system, kw_args={}), OneClassSVM())
EVIL.steps[1][1].fit(ROWS.numpy())


def dumped(folder, estimator):
    sio.dump(estimator, folder / "it.skops")
    return str(folder / "it.skops")


def build(file, shape=(5,), **options):
    options = signature.resolved(ARCHITECTURES["skops"], {"file": file, **options})
    pair = bundle.build("skops", options, shape, 0)
    pair.detector.adapt([])
    return Manifest("skops", options, shape), pair


@pytest.mark.parametrize("name", FITTED)
def test_scores_are_scikit_learns_with_the_sign_turned_from_a_file_a_copy_and_a_bundle_without_the_file(name, tmp_path):
    estimator, types = FITTED[name]
    file = dumped(tmp_path, estimator)
    manifest, pair = build(file, types=types)
    bundle.save(tmp_path / "it.safetensors", manifest, pair)
    (tmp_path / "it.skops").unlink()
    expected = (-estimator.score_samples(ROWS.double().numpy())).tolist()
    for detector in (bundle.load(tmp_path / "it.safetensors").detector, kd.load(tmp_path / "it.safetensors")):
        assert score(detector, ROWS).tolist() == pytest.approx(expected, rel=1e-5)
        assert score(copy.deepcopy(detector), ROWS).tolist() == pytest.approx(expected, rel=1e-5)


def test_images_are_rows_of_their_prepared_numbers(tmp_path):
    images = torch.randint(0, 256, (60, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    x = images.flatten(1).double().numpy() / 255
    estimator = OneClassSVM().fit(x)
    _, pair = build(dumped(tmp_path, estimator), (1, 4, 4), preparation={"scale": "unit"})
    assert score(pair.detector, images).tolist() == pytest.approx((-estimator.score_samples(x)).tolist(), rel=1e-5)


@pytest.mark.parametrize(
    ("estimator", "options", "said"),
    [
        (
            FOREST,
            {},
            r"it\.skops: holds types .* name: sklearn\.tree\._tree\.Tree \(.*types: \[sklearn\.tree\._tree\.Tree",
        ),
        (OneClassSVM().fit(ROWS[:, :4].numpy()), {}, r"takes samples of shape \(4,\), and the data have \(5,\)"),
        (OneClassSVM(), {}, "OneClassSVM cannot score new samples: .*not fitted"),
        (KMeans(2).fit(ROWS.numpy()), {}, "KMeans cannot score new samples .allowed: detectors with score_samples"),
        ([1, 2], {}, "list cannot score new samples"),
        (EVIL, {}, r"holds types .* (posix|nt)\.system"),
    ],
)
def test_what_a_file_holds_and_cannot_teach_is_said(estimator, options, said, tmp_path):
    _, pair = build(dumped(tmp_path, estimator), **options)
    with pytest.raises(InputError, match=said):
        pair.detector.score(ROWS)


def test_neighbours_without_novelty_are_told_how(tmp_path):
    file = dumped(tmp_path, LocalOutlierFactor().fit(ROWS.numpy()))
    _, pair = build(file, types=FITTED["neighbours"][1])
    with pytest.raises(InputError, match="cannot score new samples: fit it with novelty=True"):
        pair.detector.score(ROWS)


class TestCode:
    def test_a_recipe_cannot_allow_it_alone(self, tmp_path):
        with pytest.raises(InputError, match=rf"types: posix\.system may be code.* set {TRUSTED}=posix\.system"):
            build(dumped(tmp_path, EVIL), types=["posix.system"])

    def test_a_bundle_cannot_allow_it_either(self, tmp_path):
        manifest, pair = build(dumped(tmp_path, FOREST), types=TREE)
        manifest.options["types"] = [*TREE, "posix.system"]
        bundle.save(tmp_path / "it.safetensors", manifest, pair)
        with pytest.raises(BundleError, match=r"types: posix\.system may be code"):
            bundle.load(tmp_path / "it.safetensors")

    @pytest.mark.parametrize("name", ["numpy.testing._private.utils.runstring", "sklearn.datasets.fetch_openml"])
    def test_being_of_numpy_or_scikit_learn_does_not_make_it_harmless(self, tmp_path, name):
        with pytest.raises(InputError, match=f"types: {name} may be code"):
            build(dumped(tmp_path, FOREST), types=[name])

    def test_a_misspelt_type_is_guessed(self, tmp_path):
        with pytest.raises(InputError, match=r"did you mean 'sklearn\.tree\._tree\.Tree'"):
            build(dumped(tmp_path, FOREST), types=["sklearn.tre._tree.Tree"])

    def test_whoever_names_it_himself_has_it(self, tmp_path, monkeypatch):
        estimator = make_pipeline(FunctionTransformer(np.atleast_2d), OneClassSVM()).fit(ROWS.numpy())
        name = "numpy.atleast_2d"
        monkeypatch.setenv(TRUSTED, os.pathsep.join(["other.thing", name]))
        _, pair = build(dumped(tmp_path, estimator), types=[name])
        expected = (-estimator.score_samples(ROWS.double().numpy())).tolist()
        assert score(pair.detector, ROWS).tolist() == pytest.approx(expected, rel=1e-5)

    def test_a_file_that_was_exchanged_is_not_read(self, tmp_path):
        _, pair = build(dumped(tmp_path, FOREST), types=TREE)
        dumped(tmp_path, EVIL)
        with pytest.raises(InputError, match="its sha256 is"):
            pair.detector.score(ROWS)


@pytest.mark.parametrize("wrong", ["pickle", "zip", "schema"])
def test_another_file_is_named(tmp_path, wrong):
    path = tmp_path / "it.skops"
    if wrong == "pickle":
        path.write_bytes(pickle.dumps(FOREST))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("schema.json" if wrong == "schema" else "hello.txt", json.dumps({"a": 1}))
    _, pair = build(str(path), types=TREE)
    said = "a pickle is never read" if wrong == "pickle" else "damaged, or of versions"
    with pytest.raises(InputError, match=rf"it\.skops: .*{said}"):
        pair.detector.score(ROWS)


def test_skops_that_is_not_installed_is_said(tmp_path, monkeypatch):
    _, pair = build(dumped(tmp_path, FOREST), types=TREE)
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(InputError, match=r"needs skops: pip install 'kdcompress\[skops\]'"):
        pair.detector.score(ROWS)


def test_it_teaches_from_a_recipe_and_as_a_bundle_and_a_run_is_found_again(tmp_path):
    labels = np.r_[np.zeros(60), np.ones(20)][:, None]
    table = np.c_[ROWS.numpy() + 3 * labels, labels]
    np.savetxt(tmp_path / "rows.csv", table, delimiter=",", header="a,b,c,d,e,odd", comments="")
    given = {
        "data": {"name": "table", "path": str(tmp_path / "rows.csv"), "label": "odd"},
        "student": {"name": "score_net", "params": 300},
        "strategy": {"name": "response", "epochs": 1, "batch_size": 16},
        "out": tmp_path / "runs",
    }
    adapter = {"name": "skops", "file": dumped(tmp_path, FOREST), "types": list(TREE)}
    first = kd.distill(teacher={"adapter": adapter}, **given)
    again = kd.distill(teacher={"adapter": adapter}, **given)
    assert first.digest == again.digest
    (run,) = (tmp_path / "runs" / "run").glob("*")
    file = tmp_path / "teacher.safetensors"
    file.write_bytes((run / "teacher.safetensors").read_bytes())
    (tmp_path / "it.skops").unlink()
    student = bundle.load(run / "student.safetensors")
    assert export(
        student, tmp_path / "it.onnx", "onnx", inputs_for(student, {"data": given["data"]}, "it", asked=True)
    ).passed
    other = kd.distill(teacher={"bundle": str(file)}, **given)
    assert other.teacher.auroc == first.teacher.auroc
    assert other.student.auroc == first.student.auroc
