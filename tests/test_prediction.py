import dataclasses
import re

import numpy as np
import pytest
import torch

from kdcompress import bundle
from kdcompress.data.streamed import Sample
from kdcompress.errors import BundleError, InputError
from kdcompress.exporting.export import export
from kdcompress.exporting.metadata import Input
from kdcompress.prediction import Asked, Scoring, load, load_other, predict
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


class Foreign(torch.nn.Module):
    """Somebody else's network: a map, and a score that is its largest value."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 4, 3)

    def forward(self, x):
        found = self.layer(x).square().mean(1, keepdim=True)
        return {"map": found, "pred_score": found.amax((1, 2, 3))}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Its files, and the network: ``open`` leaves the sides of images open."""
    folder, network = tmp_path_factory.mktemp("foreign"), Foreign().eval()
    batch, height, width = torch.export.Dim("n"), torch.export.Dim("h", min=8), torch.export.Dim("w", min=8)
    example = torch.zeros(2, 3, 12, 10)
    torch.export.save(torch.export.export(network, (example,), dynamic_shapes=({0: batch},)), folder / "o.pt2")
    for name, dims in (("o", {0: batch}), ("open", {0: batch, 2: height, 3: width})):
        given = {"dynamo": True, "external_data": False, "verbose": False, "output_names": ["map", "pred_score"]}
        torch.onnx.export(network, (example,), folder / f"{name}.onnx", dynamic_shapes=(dims,), **given)
    return folder, network


@pytest.mark.parametrize("file", ["o.onnx", "o.pt2", "open.onnx"])
@pytest.mark.parametrize("scale", ["raw", "unit"])
def test_a_file_of_another_tool_scores_where_its_output_is_named(foreign, file, scale):
    folder, network = foreign
    shape = (3, 12, 10) if file == "open.onnx" else None
    scoring = load_other(folder / file, Asked("pred_score", shape, scale))
    raw = torch.randint(0, 256, (70, 3, 12, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = list(predict(scoring, (Sample("t", row, one.numpy()) for row, one in enumerate(raw))))
    with torch.no_grad():
        wanted = network(raw.float() / (255 if scale == "unit" else 1))["pred_score"]
    assert [one.score for one in found] == pytest.approx(wanted.tolist(), rel=1e-4)
    assert {one.decision for one in found} == {None}
    decided = dataclasses.replace(scoring, threshold=float(wanted.sort().values[29:31].mean()))
    again = predict(decided, (Sample("t", row, one.numpy()) for row, one in enumerate(raw)))
    assert sum(one.decision for one in again) == 40


@pytest.mark.parametrize(
    ("file", "asked", "said"),
    [
        ("o.onnx", Asked("pred_scor"), "unknown output 'pred_scor'; did you mean 'pred_score'"),
        ("o.onnx", Asked("map"), "output 'map' is .*not one number for each"),
        ("o.onnx", Asked("pred_score", (3, 9, 9)), r"--input 3,9,9: .*takes samples of shape \(3, 12, 10\)"),
        ("o.onnx", Asked("pred_score", scale="units"), "--scale: unknown scale 'units'; did you mean 'unit'"),
        ("open.onnx", Asked("pred_score"), r"takes samples of shape \(3, any, any\): say which"),
        ("gone.onnx", Asked("x"), "gone.onnx: no such file"),
        ("open.onnx", Asked("pred_score", (3, 10**7, 10**7)), "cannot score a sample of shape"),
        ("o.safetensors", Asked("x"), r"no exported file \(allowed: .onnx, .pt2\)"),
    ],
)
def test_what_does_not_fit_a_file_of_another_tool_is_told(foreign, file, asked, said):
    with pytest.raises((InputError, BundleError), match=said):
        load_other(foreign[0] / file, asked)


class Odd(torch.nn.Module):
    """Gives numbers that are not one for each sample, or takes whole numbers."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        if self.kind == "whole":
            return {"score": x.float().mean((1, 2, 3))}
        flat = x.mean((2, 3)).reshape(-1)
        return {"score": flat if self.kind == "parts" else x.mean((1, 2, 3)), "single": x.mean()}


def odd(folder, kind, ending, channels=3):
    network, batch = Odd(kind).eval(), torch.export.Dim("n")
    example = torch.zeros(2, channels, 6, 6, dtype=torch.uint8 if kind == "whole" else torch.float32)
    path = folder / f"{kind}.{ending}"
    if ending == "pt2":
        torch.export.save(torch.export.export(network, (example,), dynamic_shapes=({0: batch},)), path)
    else:
        given = {"dynamo": True, "external_data": False, "verbose": False}
        torch.onnx.export(
            network,
            (example,),
            path,
            dynamic_shapes=({0: batch},),
            output_names=["score", "single"][: 1 if kind == "whole" else 2],
            **given,
        )
    return path


@pytest.mark.parametrize("ending", ["onnx", "pt2"])
def test_numbers_that_are_not_one_for_each_sample_are_no_scores(tmp_path, ending):
    with pytest.raises(InputError, match="score"):
        load_other(odd(tmp_path, "parts", ending), Asked("score"))
    scoring = load_other(odd(tmp_path, "plain", ending), Asked("score"))
    assert scoring.score(np.full((5, 3, 6, 6), 7, np.uint8)) == pytest.approx([7.0] * 5)


@pytest.mark.parametrize("ending", ["onnx", "pt2"])
def test_a_file_that_takes_whole_numbers_is_given_no_others(tmp_path, ending):
    path = odd(tmp_path, "whole", ending)
    assert load_other(path, Asked("score")).score(np.full((2, 3, 6, 6), 200, np.uint8)).tolist() == [200, 200]
    with pytest.raises(InputError, match=r"takes whole numbers: scale unit has none \(allowed: raw\)"):
        load_other(path, Asked("score", scale="unit"))


@pytest.mark.parametrize("ending", ["onnx", "pt2"])
def test_a_scale_of_three_channels_is_refused_for_grey_in_the_words_of_the_option(tmp_path, ending):
    path = odd(tmp_path, "plain", ending, channels=1)
    said = r"^--scale imagenet: is for images of three channels.* \(1, 6, 6\) \(allowed: raw, unit, symmetric\)$"
    with pytest.raises(InputError, match=said):
        load_other(path, Asked("score", scale="imagenet"))
    assert load_other(path, Asked("score", scale="unit")).score(np.full((2, 1, 6, 6), 255, np.uint8)).tolist() == [1, 1]


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_own_files_say_themselves_what_their_score_is_and_others_how_to_ask(targets, foreign, kind):
    with pytest.raises(InputError, match="kdcompress wrote .*, which says itself what its score is"):
        load_other(targets[kind], Asked("score"))
    with pytest.raises(BundleError, match=r"not one that kdcompress wrote.*--score-output"):
        load(foreign[0] / f"o.{kind}")
