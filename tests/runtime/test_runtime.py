import hashlib
import json
import subprocess
import sys
import tomllib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import kdcompress
from kdcompress.data.images import read as ours_read
from kdcompress.exporting import onnx as ours
from kdcompress.exporting.export import export
from kdcompress.exporting.exported import load as exported
from kdcompress.exporting.parity import scores
from tests.exporting.detectors import inputs, small
from tests.runtime.conftest import RUNTIME


@pytest.fixture
def detector(runtime, files):
    return runtime.Detector.load(files["onnx"])


@pytest.fixture(scope="module")
def rows(runtime, tmp_path_factory):
    one = small("mlp_ae")
    path = tmp_path_factory.mktemp("rows") / "rows.onnx"
    export(one, path, "onnx", inputs(one))
    return one, runtime.Detector.load(path)


def test_it_scores_as_torch_does(detector, conv_ae):
    raw = inputs(conv_ae, 20).raw
    wanted = conv_ae.detector.score(raw).numpy()
    found = detector.score(raw.numpy())
    assert found.dtype == np.float32
    assert found == pytest.approx(wanted, rel=1e-5)
    assert (
        detector.predict(raw.numpy()).tolist()
        == (wanted.astype(float) > conv_ae.manifest.threshold).astype(int).tolist()
    )


def test_it_knows_what_it_takes(detector, conv_ae, rows):
    assert (detector.input_shape, detector.dtype, detector.threshold) == (
        (1, 12, 10),
        np.uint8,
        conv_ae.manifest.threshold,
    )
    assert (rows[1].input_shape, rows[1].dtype) == ((7,), np.float32)
    assert detector.metadata["labels"] == {"0": "normal", "1": "anomaly"}


def test_rows_may_be_of_any_number_type(rows):
    one, detector = rows
    raw = inputs(one, 5).raw
    wanted = one.detector.score(raw).numpy()
    assert detector.score(raw.numpy()) == pytest.approx(wanted, rel=1e-5)
    assert detector.score(raw.double().numpy()) == pytest.approx(wanted, rel=1e-5)
    assert detector.score(raw.tolist()) == pytest.approx(wanted, rel=1e-5)
    assert detector.score(np.ones((2, 7), int)).shape == (2,)


def test_a_self_test_passes_and_fails(runtime, files, tmp_path, detector):
    assert detector.self_test() < detector.metadata["self_test"]["tolerance"]
    proto = onnx.load(files["onnx"])
    said = ours.read_metadata(proto, files["onnx"])
    tensor = next(one for one in proto.graph.initializer if len(one.dims) == 4)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1.1, tensor.name))
    (tmp_path / "x.onnx").write_bytes(ours.sealed(proto, said))
    with pytest.raises(runtime.SelfTestError, match="scores differ by up to"):
        runtime.Detector.load(tmp_path / "x.onnx").self_test()


def test_images_from_files_are_as_arrays(detector, conv_ae, tmp_path):
    raw = inputs(conv_ae, 2).raw.numpy()
    paths = [tmp_path / f"{index}.png" for index in range(2)]
    for path, one in zip(paths, raw, strict=True):
        Image.fromarray(one[0]).save(path)
    assert detector.score(paths).tolist() == detector.score(raw).tolist()
    assert detector.score(str(paths[0])).shape == (1,)
    Image.fromarray(raw[0, 0]).convert("RGB").resize((40, 30)).save(tmp_path / "other.png")
    assert detector.score(tmp_path / "other.png").shape == (1,), "converted and resized"


def resealed(files, path, change):
    """Write the file with other metadata, and a hash that fits them, as whoever edits on purpose can."""
    proto = onnx.load(files["onnx"])
    said = json.loads({one.key: one.value for one in proto.metadata_props}["kdcompress"])
    text = change(said)
    del proto.metadata_props[:]
    proto.metadata_props.add(key="kdcompress", value=text if isinstance(text, str) else json.dumps(said))
    body = proto.SerializeToString(deterministic=True)
    path.write_bytes(body + ours.trailer(hashlib.sha256(body).hexdigest()))
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda said: said.pop("threshold") and None, "threshold: expected a finite number or null, it is missing"),
        (lambda said: said.update(threshold="abc"), "threshold: expected a finite number or null, found 'abc'"),
        (lambda said: said.update(threshold=True), "threshold: expected a finite number or null, found True"),
        (lambda said: said.update(threshold=10**400), "threshold: expected a finite number or null, found 10000"),
        (
            lambda said: json.dumps({**said, "threshold": 0.5}).replace('"threshold": 0.5', '"threshold": 1e999'),
            "threshold: expected a finite number or null, found inf",
        ),
        (lambda said: said.pop("self_test") and None, "self_test.scores: expected a list .* it is missing"),
        (lambda said: said["self_test"].update(scores=["x"]), r"self_test.scores: expected a list .* found \['x'\]"),
        (lambda said: said["self_test"].update(scores=[]), r"self_test.scores: expected a list .* found \[\]"),
        (lambda said: said["self_test"].update(tolerance=-1), "self_test.tolerance: expected a finite .* found -1"),
        (lambda said: said["self_test"].update(inputs="AAAA"), "self_test.inputs: expected 120 bytes .* found 3"),
        (lambda said: said["self_test"].update(inputs="*"), "self_test.inputs: expected base64"),
        (lambda said: said["self_test"].update(inputs=3), "self_test.inputs: expected text in base64, found 3"),
        (lambda said: said["input"].update(shape=[10, 12, 1]), r"uint8 \[10, 12, 1\] there, uint8 \[1, 12, 10\] in"),
        (lambda said: said["input"].update(shape=[120]), r"uint8 \[120\] there, uint8 \[1, 12, 10\] in"),
        (lambda said: said["input"].update(shape="x"), "input.shape: expected a list of whole numbers above 0"),
        (lambda said: said["input"].update(dtype="int8"), "input.dtype: expected 'uint8' or 'float32', found 'int8'"),
        (lambda said: said.update(format="2"), "format: expected a whole number, at least 1, found '2'"),
        (lambda said: "[1]", "format: expected a whole number, at least 1, it is missing"),
        (lambda said: "[" * 100_000, "recursion"),
    ],
)
def test_metadata_that_lack_what_is_needed_are_told(runtime, files, tmp_path, change, said):
    path = resealed(files, tmp_path / "x.onnx", change)
    with pytest.raises(runtime.FileError, match=rf"x\.onnx: its metadata are damaged: .*{said}"):
        runtime.Detector.load(path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": float("nan")}, "threshold: expected a finite number, or None .* found nan"),
        ({"threshold": float("inf")}, "threshold: expected a finite number, or None .* found inf"),
        ({"threshold": "x"}, "threshold: expected a finite number, or None .* found 'x'"),
        ({"threads": "a"}, "threads: expected a whole number from 1 to 1,024, or None .* found 'a'"),
        ({"threads": 0}, "threads: expected a whole number from 1 to 1,024, or None .* found 0"),
        ({"threads": 1.5}, "threads: expected a whole number from 1 to 1,024, or None .* found 1.5"),
        ({"path": None}, "path: expected the path of a file, found None"),
    ],
)
def test_an_option_that_is_not_allowed_is_told(runtime, files, options, said):
    with pytest.raises(runtime.InputError, match=said):
        runtime.Detector.load(**{"path": files["onnx"], **options})


def test_numbers_of_numpy_are_options_too(runtime, files):
    found = runtime.Detector.load(files["onnx"], threshold=np.float32(0.5), threads=np.int64(1))
    assert found.threshold == 0.5


def odd_images(folder):
    """Write images that an array of pixels says too little of: turned, of 16 bits, with transparency, of a palette."""
    grey = np.random.default_rng(0).integers(0, 256, (20, 14), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    images = {
        "turned.jpg": (Image.fromarray(np.stack([grey, grey[::-1], 255 - grey], -1)), {"exif": turned}),
        "deep.png": (Image.fromarray(grey.astype(np.uint16) * 251), {}),
        "deep_turned.tif": (Image.fromarray(grey.astype(np.uint16) * 257), {"exif": turned}),
        "transparent.png": (Image.fromarray(np.stack([grey, grey[::-1]], -1), "LA"), {}),
        "palette.png": (Image.fromarray(grey).convert("P", palette=Image.Palette.ADAPTIVE), {}),
        "bits.png": (Image.fromarray(grey > 127), {}),
    }
    for name, (image, options) in images.items():
        image.save(folder / name, **options)
    return [folder / name for name in images]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_are_read_as_the_package_reads_them(runtime, tmp_path, channels):
    from kdcompress_runtime.inputs import images

    for path in odd_images(tmp_path):
        wanted = ours_read(path, (12, 10), channels)
        assert images([path], (channels, 12, 10)).tolist() == [wanted.tolist()], path.name


def test_an_image_that_cannot_be_read_is_told(runtime, detector, tmp_path):
    for name, pixels, said in (
        ("float.tif", np.zeros((8, 8), np.float32), "pixels of mode F .allowed: 8-bit grey, colour, transparency; 16"),
        ("deep.tif", np.full((8, 8), 70_000, np.int32), "pixels from 70000 to 70000 .allowed: 0 to 65535"),
    ):
        Image.fromarray(pixels).save(tmp_path / name)
        with pytest.raises(runtime.InputError, match=rf"{name}: {said}"):
            detector.score(tmp_path / name)


GOOD = np.zeros((2, 1, 12, 10), np.uint8)


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (GOOD[:0], "empty batch"),
        (GOOD[0], r"expected an array \[N, 1, 12, 10\], found \[1, 12, 10\]; one sample is a batch of one"),
        (GOOD.transpose(0, 2, 3, 1), r"channels come first"),
        (GOOD.repeat(3, 1), r"found \[2, 3, 12, 10\]"),
        (GOOD[:, :, :9], r"found \[2, 1, 9, 10\]"),
        (GOOD / 255, "expected uint8, found float64; images are whole numbers"),
        (GOOD.astype(np.int32), "expected uint8, found int32"),
        (GOOD.astype(bool), "found an array of bool"),
        ("no.png", "no.png: not an image"),
        (["text", 3], "found an array of <U"),
        (None, "found an array of object"),
        ([[1, 2], [3]], "differ in shape"),
    ],
)
def test_what_does_not_fit_is_told(runtime, detector, batch, said):
    with pytest.raises(runtime.InputError, match=said):
        detector.score(batch)


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, r"sample 1 is not finite at \[4\]: nan"), (1e300, r"not finite at \[4\]: 1e\+300")]
)
def test_numbers_that_are_not_finite_are_told(runtime, rows, value, said):
    batch = np.zeros((3, 7))
    batch[1, 4] = value
    with pytest.raises(runtime.InputError, match=said):
        rows[1].score(batch)
    with pytest.raises(runtime.InputError, match="not image files"):
        rows[1].score("x.png")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_told(runtime, files, tmp_path, share):
    data = files["onnx"].read_bytes()
    (tmp_path / "x.onnx").write_bytes(data[: int(share * len(data))])
    with pytest.raises(runtime.FileError, match="cut off|altered"):
        runtime.Detector.load(tmp_path / "x.onnx")


@pytest.mark.parametrize("place", range(-60, -5, 11))
def test_an_altered_file_is_told(runtime, files, tmp_path, place):
    """In the weights, or in the hash itself."""
    data = files["onnx"].read_bytes()
    at = data.index(b"kdcompress.sha256") - 2000 if place < -40 else len(data) + place
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    (tmp_path / "x.onnx").write_bytes(changed)
    with pytest.raises(runtime.FileError, match="altered|cut off"):
        runtime.Detector.load(tmp_path / "x.onnx")


def test_a_newer_format_is_told(runtime, files, tmp_path):
    import dataclasses

    proto = onnx.load(files["onnx"])
    said = dataclasses.replace(ours.read_metadata(proto, files["onnx"]), format=7)
    (tmp_path / "x.onnx").write_bytes(ours.sealed(proto, said))
    with pytest.raises(runtime.FileError, match="newer kdcompress"):
        runtime.Detector.load(tmp_path / "x.onnx")


@pytest.mark.parametrize("method", ["score", "predict"])
def test_a_score_that_is_not_finite_is_told_with_its_sample(runtime, rows, method):
    """Inputs that are finite, and whose squares are not."""
    batch = np.zeros((4, 7))
    batch[2:] = 3e38
    with pytest.raises(runtime.ScoreError, match=r"2 of 4 scores are not finite, the first is (nan|inf), of sample 2"):
        getattr(rows[1], method)(batch)


def foreign(path, *, shape=("N", 2), external=False, in_attribute=False):
    """Write an ONNX file of no metadata: the sum of each row, [N, 1]."""
    ones = numpy_helper.from_array(np.ones((2, 1), np.float32), "ones")
    nodes = [helper.make_node("MatMul", ["x", "ones"], ["anomaly"])]
    tensors = [ones]
    if in_attribute:
        nodes.insert(0, helper.make_node("Constant", [], ["ones"], value=ones))
        tensors = []
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("anomaly", TensorProto.FLOAT, ["N", 1])],
        tensors,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(proto, path, save_as_external_data=external, location="weights", size_threshold=0, convert_attribute=True)


def test_a_file_of_another_tool_runs_if_its_score_is_named(runtime, tmp_path):
    path = tmp_path / "x.onnx"
    foreign(path)
    with pytest.raises(runtime.FileError, match=r"no metadata of kdcompress.*score_output="):
        runtime.Detector.load(path)
    with pytest.raises(runtime.FileError, match=r"no output 'score' \(allowed: anomaly\)"):
        runtime.Detector.load(path, score_output="score")
    found = runtime.Detector.load(path, score_output="anomaly")
    assert found.score([[1.0, 2.0], [3.0, 4.0]]).tolist() == [3.0, 7.0]
    with pytest.raises(runtime.InputError, match="no threshold"):
        found.predict([[1.0, 2.0]])
    with pytest.raises(runtime.SelfTestError, match="no self-test"):
        found.self_test()
    known = runtime.Detector.load(path, score_output="anomaly", threshold=5)
    assert known.predict([[1.0, 2.0], [3.0, 4.0]]).tolist() == [0, 1]


def test_an_output_that_is_no_tensor_of_numbers_is_no_score(runtime, tmp_path):
    """As scikit-learn's classifiers have where they are exported with ZipMap."""
    node = helper.make_node("ZipMap", ["x"], ["chances"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    one = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_value_info("chances", helper.make_sequence_type_proto(one))],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "x.onnx")
    with pytest.raises(
        runtime.FileError, match=r"the output 'chances' is seq\(map\(.*, a score is a tensor of numbers"
    ):
        runtime.Detector.load(tmp_path / "x.onnx", score_output="chances")


@pytest.mark.parametrize("in_attribute", [False, True])
def test_weights_outside_the_file_are_refused(runtime, tmp_path, in_attribute):
    path = tmp_path / "x.onnx"
    foreign(path, external=True, in_attribute=in_attribute)
    assert (tmp_path / "weights").stat().st_size
    with pytest.raises(runtime.FileError, match="weights in another file"):
        runtime.Detector.load(path, score_output="anomaly")


def test_the_fields_that_lead_to_tensors_are_those_of_onnx(runtime):
    """By the descriptors of the onnx package: all fields of a graph, a node, ... that hold such messages."""
    from kdcompress_runtime import file

    kinds = {
        "model": onnx.ModelProto,
        "training": onnx.TrainingInfoProto,
        "function": onnx.FunctionProto,
        "graph": onnx.GraphProto,
        "node": onnx.NodeProto,
        "attribute": onnx.AttributeProto,
        "sparse": onnx.SparseTensorProto,
        "tensor": onnx.TensorProto,
    }
    names = {message.DESCRIPTOR.name: kind for kind, message in kinds.items()}
    for kind, message in kinds.items():
        wanted = {
            field.number: names[field.message_type.name]
            for field in message.DESCRIPTOR.fields
            if field.message_type is not None and field.message_type.name in names
        }
        assert file.BELOW.get(kind, {}) == wanted, kind
    tensor = onnx.TensorProto.DESCRIPTOR.fields_by_name
    assert (tensor["external_data"].number, tensor["data_location"].number) == (
        file.EXTERNAL_DATA,
        file.DATA_LOCATION,
    )


def test_it_runs_where_torch_cannot_be_imported(files, conv_ae, tmp_path):
    raw = inputs(conv_ae, 6).raw
    np.save(tmp_path / "raw.npy", raw.numpy())
    code = f"""
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "kdcompress", "onnx", "scipy", "sklearn", "pydantic", "PIL"):
            raise ImportError(name + " is not on this device")

sys.meta_path.insert(0, Block())
sys.path.insert(0, {str(RUNTIME)!r})
import json
import numpy as np
from kdcompress_runtime import Detector

detector = Detector.load({str(files["onnx"])!r})
detector.self_test()
try:
    detector.score("x.png")
    said = ""
except Exception as error:
    said = str(error)
print(json.dumps([detector.score(np.load({str(tmp_path / "raw.npy")!r})).tolist(), said]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scores, said = json.loads(done.stdout)
    assert scores == pytest.approx(conv_ae.detector.score(raw).tolist(), rel=1e-5)
    assert "need Pillow" in said


def test_importing_it_is_cheap():
    code = f"import sys; sys.path.insert(0, {str(RUNTIME)!r}); import kdcompress_runtime; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "numpy" in loaded
    assert not loaded & {"onnxruntime", "PIL", "torch", "kdcompress", "onnx"}


def test_the_distribution_needs_numpy_and_onnxruntime_only(runtime):
    plain = tomllib.loads((RUNTIME / "pyproject.toml").read_text())["project"]
    assert sorted(one.partition(">")[0] for one in plain["dependencies"]) == ["numpy", "onnxruntime"]
    assert plain["version"] == runtime.__version__ == kdcompress.__version__


def test_threads_do_not_change_scores(runtime, files, conv_ae):
    raw = inputs(conv_ae, 8).raw.numpy()
    one, two = (runtime.Detector.load(files["onnx"], threads=count).score(raw) for count in (1, 2))
    assert one == pytest.approx(two, rel=1e-6)


def test_the_self_test_is_the_files_own(eight, runtime, files):
    detector = runtime.Detector.load(eight)
    assert detector.self_test() < 0.1 * detector.metadata["self_test"]["tolerance"]
    plain = exported(files["onnx"]).metadata.self_test
    assert detector.metadata["self_test"]["inputs"] == plain.inputs
    assert tuple(detector.metadata["self_test"]["scores"]) != plain.scores


def test_the_runtime_decides_by_the_files_threshold(eight, runtime, conv_ae):
    raw = inputs(conv_ae, 200).raw.numpy()
    detector, file = runtime.Detector.load(eight), exported(eight)
    found = scores(file, raw)
    assert detector.score(raw) == pytest.approx(found, rel=1e-6)
    assert detector.predict(raw).tolist() == (found > file.metadata.threshold).astype(int).tolist()
