import ast
import hashlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from kdcompress.errors import InputError
from kdcompress.exporting.card import card
from kdcompress.exporting.export import export
from kdcompress.exporting.exported import load
from kdcompress.exporting.kit import check_free, write
from kdcompress.exporting.parity import compare, scores
from tests.exporting.detectors import inputs, small
from tests.reporting.fake_runs import make_result


@pytest.fixture(scope="module", params=["onnx", "int8"])
def kit(request, conv_ae, files, eight, tmp_path_factory):
    """A kit of images, and the file that it was made of."""
    folder = tmp_path_factory.mktemp("kit")
    path = files["onnx"] if request.param == "onnx" else eight
    found = compare(conv_ae.detector, conv_ae.manifest.threshold, load(path), inputs(conv_ae, 100))
    write(folder, path, conv_ae.manifest, found, None)
    return folder, path


def run(folder, *arguments):
    """Run the example where neither this package nor its folder can be imported by chance."""
    command = [sys.executable, "-I", str(folder / "example.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_it_is_whole_and_its_sums_fit(kit):
    folder, path = kit
    assert {one.name for one in folder.iterdir()} == {path.name, "model_card.md", "SHA256SUMS", "example.py"}
    lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in lines} == {path.name, "model_card.md", "example.py"}
    for digest, name in lines:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert (folder / path.name).read_bytes() == path.read_bytes()


def test_the_example_needs_numpy_and_onnxruntime_alone(kit):
    text = (kit[0] / "example.py").read_text()
    assert len(text.splitlines()) <= 30
    assert max(map(len, text.splitlines())) <= 120
    tree = ast.walk(ast.parse(text))
    modules = {
        one.names[0].name if isinstance(one, ast.Import) else one.module for one in tree if hasattr(one, "names")
    }
    assert modules - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}


def test_the_example_scores_an_image_as_the_file_does(kit, conv_ae, tmp_path):
    folder, path = kit
    exported = load(path)
    assert run(folder).stdout.startswith(f"score {exported.metadata.self_test.scores[0]:.4g}"[:9])
    raw = inputs(conv_ae, 40).raw.numpy()
    found = scores(exported, raw)
    for index in (int(found.argmin()), int(found.argmax())):
        np.save(tmp_path / "x.npy", raw[index])
        done = run(folder, tmp_path / "x.npy")
        assert done.returncode == 0, done.stderr
        assert float(done.stdout.split()[1].rstrip(",")) == pytest.approx(found[index], rel=1e-5)
        assert ("anomaly" if found[index] > exported.metadata.threshold else "normal") == done.stdout.split()[2]


def test_the_example_says_what_it_wants(kit, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((10, 12, 1), np.uint8))
    done = run(kit[0], tmp_path / "x.npy")
    assert done.returncode == 1
    assert done.stderr.strip() == "expected uint8 [1, 12, 10], found uint8 [10, 12, 1]"


def test_rows_are_scored_too_and_without_a_threshold_nothing_is_decided(tmp_path):
    import dataclasses

    one = small("mlp_ae")
    one = dataclasses.replace(one, manifest=dataclasses.replace(one.manifest, threshold=None))
    path = tmp_path / "r.onnx"
    write(tmp_path / "kit", path, one.manifest, export(one, path, "onnx", inputs(one)), None)
    row = inputs(one, 1).raw[0].numpy()
    np.save(tmp_path / "x.npy", row)
    done = run(tmp_path / "kit", tmp_path / "x.npy")
    assert done.returncode == 0, done.stderr
    wanted = scores(load(path), row[None])[0]
    assert float(done.stdout.split()[1].rstrip(",")) == pytest.approx(wanted, rel=1e-5)
    assert "no threshold" in done.stdout
    assert "No threshold was chosen" in (tmp_path / "kit" / "model_card.md").read_text()


def test_the_card_invents_nothing(kit):
    folder, path = kit
    text = (folder / "model_card.md").read_text()
    assert "## Licence\n\nNot stated" in text
    assert "## How well it detects\n\nNot stated: the file was made of a bundle alone" in text
    assert "Trained on: not stated." in text
    assert f"Above {load(path).metadata.threshold:.9g} a sample is called an anomaly" in text
    assert ("## Eight bits" in text) == ("int8" in path.name)
    if "int8" in path.name:
        assert "computed in float by ONNX Runtime on the CPU | `decoder.4` |" in text


def test_the_card_has_the_runs_numbers(files, conv_ae):
    exported, result = load(files["onnx"]), make_result()
    found = compare(conv_ae.detector, conv_ae.manifest.threshold, exported, inputs(conv_ae, 100))
    text = card("a.onnx", exported.metadata, conv_ae.manifest, found, result)
    assert f"| AUROC | {100 * result.student.auroc:.2f} % (" in text
    assert f"{result.data.train:,} normals to train, {result.data.validation:,} held out" in text


def test_a_folder_with_another_model_is_refused(tmp_path):
    check_free(tmp_path / "none", "a.onnx")
    for name in ("a.onnx", "SHA256SUMS"):
        (tmp_path / name).write_bytes(b"")
    check_free(tmp_path, "a.onnx")
    with pytest.raises(InputError, match=r"holds something else already: a\.onnx; say another folder: --out"):
        check_free(tmp_path, "a.int8.onnx")


def test_a_file_in_the_place_of_the_kit_is_refused(tmp_path):
    (tmp_path / "kit").write_bytes(b"")
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    for name in ("kit", "gone"):
        with pytest.raises(InputError, match=f"{name} is a file, a folder is to be there"):
            check_free(tmp_path / name, "a.onnx")


@pytest.mark.parametrize("name", ["new\nline.onnx", "bell\a.onnx", "no\udcfftext.onnx"])
def test_names_that_no_line_can_have_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="a name in a kit has no control characters"):
        check_free(tmp_path / "kit", name)


@pytest.mark.parametrize("name", ["q\"uo'te {x}.onnx", "back\\nslash.onnx", "ü.onnx"])
def test_any_other_name_is_run_and_checked(tmp_path, kit, conv_ae, name):
    path = tmp_path / name
    path.write_bytes(kit[1].read_bytes())
    check_free(tmp_path / "kit", name)
    found = compare(conv_ae.detector, conv_ae.manifest.threshold, load(path), inputs(conv_ae, 10))
    write(tmp_path / "kit", path, conv_ae.manifest, found, None)
    done = run(tmp_path / "kit")
    assert (done.returncode, done.stdout[:6]) == (0, "score "), done.stderr
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "kit", check=True, capture_output=True)
