import shutil
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from kdcompress.__main__ import main
from kdcompress.data import images as module
from kdcompress.data.folder import folder
from kdcompress.data.split import hold_out
from kdcompress.errors import DataError


def save(path, size=(12, 10), mode="L", value=7):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(value)
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = rng.integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def top(tmp_path):
    """Ten normals to train on, and 3 normal, 2 scratched and 1 bent to test on: 12 x 10 pixels, grey."""
    for index in range(10):
        save(tmp_path / "train" / "good" / f"{index}.png", value=index)
    for kind, count in (("good", 3), ("scratch", 2), ("bent", 1)):
        for index in range(count):
            save(tmp_path / "test" / kind / f"{index}.png", value=100 + index)
    return tmp_path


def refused(root, match, **options):
    with pytest.raises(DataError, match=match):
        folder(root=str(root), **options)


def test_folders_are_parts_and_labels(top):
    data = folder(root=str(top), validation=0.2)
    assert data.input_shape == (1, 10, 12)
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 2, 6)
    # Kinds in the order of their names: bent, good, scratch.
    assert data.labels.tolist() == [1, 0, 0, 0, 1, 1]


def test_what_is_held_out_depends_on_the_data_alone(top):
    data = folder(root=str(top), validation=0.2)
    whole = torch.stack([torch.from_numpy(save(top / "again.png", value=index)) for index in range(10)])
    kept, held = hold_out(range(10), 2, "data", "folder", "validation")
    assert torch.equal(data.train[:, 0], whole[kept])
    assert torch.equal(data.validation[:, 0], whole[held])


def test_pixels_are_those_of_the_file(top):
    pixels = save(top / "test" / "bent" / "0.png", value=3)
    assert torch.equal(folder(root=str(top)).test[0, 0], torch.from_numpy(pixels))


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("RGBA", 4)])
def test_channels_are_as_in_the_files(top, mode, channels):
    for file in top.rglob("*.png"):
        save(file, mode=mode)
    assert folder(root=str(top)).input_shape == (channels, 10, 12)


def test_mixed_sizes_are_named_with_what_to_do(top):
    save(top / "train" / "good" / "4.png", size=(30, 20))
    refused(top, r"differ in shape: 15 of 12 x 10 pixels with 1 channel.*1 of 30 x 20 .*good.4\.png: set data\.size")
    assert folder(root=str(top), size=16).input_shape == (1, 16, 16)


def test_mixed_channels_are_named(top):
    save(top / "test" / "good" / "0.png", mode="RGB")
    refused(top, r"1 of 12 x 10 pixels with 3 channels.*: save all with the same channels", size=None)


def test_resizing_keeps_a_flat_image_flat(top):
    Image.new("L", (50, 20), 99).save(top / "test" / "bent" / "0.png")
    assert (folder(root=str(top), size=8).test[0] == 99).all()


@pytest.mark.parametrize(("where", "match"), [("train/good", "train/good: .* is not there"), ("test/good", "'good'")])
def test_a_folder_that_is_not_there_is_named(top, where, match):
    (top / where).rename(top / "away")
    refused(top, match)


def test_a_file_in_place_of_a_folder_is_named(top):
    refused(top / "train" / "good" / "0.png", r"0\.png: data\.root is a file")


def test_without_a_test_folder_normals_are_held_out_as_from_a_folder_of_normals(top):
    shutil.rmtree(top / "test")
    found = folder(root=str(top), test=0.3)
    assert (len(found.train), len(found.validation), found.labels.tolist()) == (6, 1, [0] * 3)
    (top / "train" / "good").rename(top / "normal")
    (top / "train").rmdir()
    assert folder(root=str(top), test=0.3).digest() == found.digest()


def test_a_test_folder_by_almost_that_name_is_not_overlooked(top):
    (top / "test").rename(top / "tests")
    refused(top, r"test: not there; did you mean 'tests'\?")


def test_a_test_of_normals_alone_is_tested_whole(top):
    for kind in ("bent", "scratch"):
        shutil.rmtree(top / "test" / kind)
    assert folder(root=str(top)).labels.tolist() == [0] * 3


def test_what_is_taken_for_no_image_is_said(top, tmp_path_factory):
    good, away = top / "train" / "good", tmp_path_factory.mktemp("away")
    before = folder(root=str(top))
    assert before.notes == ()
    for name in ("a.gif", "b.GIF", "read me.txt", "._0.png", ".DS_Store"):
        (good / name).write_bytes(b"")
    (good / "more").symlink_to(away, target_is_directory=True)
    (good / "back").symlink_to("..", target_is_directory=True)
    found = folder(root=str(top))
    assert found.digest() == before.digest()
    assert found.notes == (f"{good}: not read: 3 files with the ending .gif, .txt; 2 links to folders, e.g. back",)
    for file in good.glob("*.png"):
        file.unlink()
    refused(top, r"good: no images in it \(allowed endings: .*not read: 3 files with the ending \.gif, \.txt")


@pytest.mark.parametrize(("target", "match"), [("away.png", "No such file"), ("z.png", "levels of symbolic links")])
def test_a_link_to_nowhere_is_a_bad_image_and_not_overlooked(top, target, match):
    (top / "train" / "good" / "z.png").symlink_to(target)
    refused(top, rf"z\.png: cannot be read: .*{match}")
    assert "1 of 17 images are left out" in folder(root=str(top), on_bad_image="skip").notes[0]


def test_an_empty_folder_is_named(top):
    (top / "test" / "hole").mkdir()
    refused(top, r"hole: no images in it \(allowed endings: \.png")


@pytest.mark.parametrize(
    ("content", "match"), [(b"not an image", "not an image, whatever"), (b"", "not an image"), (None, "damaged")]
)
def test_a_file_that_is_no_image_is_named(top, content, match):
    file = top / "train" / "good" / "3.png"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    refused(top, rf"3\.png: {match}")


DEEP = np.linspace(0, 65_535, 120).astype(np.uint16).reshape(10, 12)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_scaled_by_the_range_of_the_type(top, ending):
    (top / "test" / "bent" / "0.png").unlink()
    Image.fromarray(DEEP).save(top / "test" / "bent" / f"0.{ending}")
    found = folder(root=str(top)).test[0, 0].numpy()
    assert found.tolist() == np.rint(DEEP / 65_535 * 255).tolist()


def test_more_than_sixteen_bits_are_refused(top):
    Image.fromarray(DEEP.astype(np.int32) * 2).save(top / "train" / "good" / "3.tif")
    refused(top, r"3\.tif: pixels from 0 to 131070 \(allowed: 0 to 65535, 16 bits\)")
    Image.fromarray(DEEP.astype(np.float32)).save(top / "train" / "good" / "3.tif")
    refused(top, r"3\.tif: pixels of mode F \(allowed: 8-bit grey, colour, transparency; 16-bit grey\)")


# As the eight values are defined: where the first row and the first column of what is stored belong.
TURNS = [
    lambda a: a,
    np.fliplr,
    lambda a: np.rot90(a, 2),
    np.flipud,
    np.transpose,
    lambda a: np.rot90(a, -1),
    lambda a: np.rot90(a, 2).T,
    np.rot90,
]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(("orientation", "turn"), list(enumerate(TURNS, 1)))
def test_images_are_turned_as_their_exif_data_say(top, orientation, turn, deep):
    pixels = DEEP[:, :10] if deep else np.random.default_rng(0).integers(0, 256, (10, 10), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for file in top.rglob("*.png"):
        Image.fromarray(pixels).save(file)
    Image.fromarray(pixels).save(top / "test" / "bent" / "0.png", exif=exif)
    found = folder(root=str(top)).test[:2, 0].numpy()
    assert found[0].tolist() == turn(found[1]).tolist()


def test_grey_with_transparency_has_two_channels(top):
    for index, file in enumerate(sorted(top.rglob("*.png"))):
        grey = Image.fromarray(np.full((10, 12), index, np.uint8))
        grey.putalpha(200)
        grey.save(file)
    data = folder(root=str(top))
    assert data.input_shape == (2, 10, 12)
    assert (data.train[:, 1] == 200).all()
    assert (data.train[:, 0] < 200).all()


def bad_files(top):
    (top / "train" / "good" / "3.png").write_bytes(b"not an image")
    whole = (top / "test" / "good" / "0.png").read_bytes()
    (top / "test" / "good" / "0.png").write_bytes(whole[: len(whole) // 2])


def test_bad_images_are_skipped_and_counted(top):
    bad_files(top)
    data = folder(root=str(top), on_bad_image="skip")
    assert (len(data.train) + len(data.validation), data.labels.tolist()) == (9, [1, 0, 0, 1, 1])
    (note,) = data.notes
    assert "2 of 16 images are left out" in note
    assert "3.png: not an image" in note
    refused(top, r"3\.png: not an image")


def test_what_is_skipped_does_not_change_the_others(top):
    (top / "train" / "good" / "99.png").write_bytes(b"")
    skipped = folder(root=str(top), on_bad_image="skip")
    (top / "train" / "good" / "99.png").unlink()
    clean = folder(root=str(top))
    assert skipped.digest() == clean.digest()
    assert not clean.notes


def test_a_bomb_among_bad_images_is_skipped_and_nothing_but_bad_ones_is_refused(top, monkeypatch):
    save(top / "train" / "good" / "99.png", size=(40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    (note,) = folder(root=str(top), on_bad_image="skip").notes
    assert "1 of 17 images are left out" in note
    assert "larger than an image should be" in note
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    refused(top, "none of 17 images can be read: .*larger than", on_bad_image="skip")


@pytest.fixture
def two(tmp_path):
    """Twenty normals and five anomalies, each with a value of its own."""
    for index in range(20):
        save(tmp_path / "normal" / f"{index:02}.png", value=index)
    for index in range(5):
        save(tmp_path / "anomaly" / f"{index}.png", value=100 + index)
    return tmp_path


def test_normals_in_one_folder_are_parted(two, rows):
    data = folder(root=str(two), test=0.25, validation=0.2)
    assert (len(data.train), len(data.validation), data.labels.tolist()) == (12, 3, [0] * 5 + [1] * 5)
    parts = [rows(part) for part in (data.train, data.validation, data.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 25
    anomalies = rows(torch.stack([torch.from_numpy(save(two / "it.png", value=100 + i))[None] for i in range(5)]))
    assert rows(data.test[data.labels == 1]) == anomalies


def test_the_parts_do_not_depend_on_the_folders_place(two, tmp_path_factory):
    other = tmp_path_factory.mktemp("z") / "a b" / "c"
    shutil.copytree(two, other)
    assert folder(root=str(two)).digest() == folder(root=str(other)).digest()


def test_without_anomalies_normals_alone_are_tested(two):
    shutil.rmtree(two / "anomaly")
    assert folder(root=str(two)).labels.tolist() == [0] * 4
    (two / "anomalies").mkdir()
    refused(two, r"anomaly: not there; did you mean 'anomalies'\? \(wanted below data\.root: normal and")


def test_both_layouts_are_named_where_neither_is_there(tmp_path):
    refused(tmp_path, r"wanted below data\.root: train/good and, .*; or normal and, if any are known, anomaly")


def test_a_decompression_bomb_is_refused(top, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    refused(top, "larger than an image should be")


def test_more_images_than_memory_are_mapped_and_the_same(top, monkeypatch):
    in_memory = folder(root=str(top), validation=0.2)
    monkeypatch.setattr("kdcompress.data.blank.available_bytes", lambda: 100)
    mapped = folder(root=str(top), validation=0.2)
    assert mapped.digest() == in_memory.digest()
    storages = {part.untyped_storage().data_ptr() for part in (mapped.train, mapped.validation, mapped.test)}
    assert len(storages) == 1, "a part was copied"
    assert mapped.train.untyped_storage().filename is not None


def test_decoded_images_do_not_wait_in_memory_for_a_slow_disk(top, monkeypatch):
    waiting, most, lock = set(), [0], threading.Lock()

    class Slow:
        """Takes images, but not fast."""

        shape = (160, 1, 10, 12)

        def __setitem__(self, index, image):
            time.sleep(0.002)
            with lock:
                waiting.discard(index)

    for index in range(10, 160):
        save(top / "train" / "good" / f"{index:03}.png", value=index)
    files = sorted((top / "train" / "good").iterdir())
    read = module.read

    def counted(file, size):
        with lock:
            waiting.add(files.index(file))
            most[0] = max(most[0], len(waiting))
        return read(file, size)

    monkeypatch.setattr(module, "read", counted)
    monkeypatch.setattr(module, "blank", lambda _: Slow())
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    module.stacked(files, None)
    assert most[0] <= 2 + 4 + 1, "more than threads"
    assert not waiting


def test_reading_leaves_what_is_done_with_warnings_as_it_was(top, monkeypatch):
    """It is the whole process's: threads that set and restore it each for itself leave what another one had set."""
    for index in range(100, 200):
        save(top / "train" / "good" / f"{index}.png", value=index)
    interval = sys.getswitchinterval()
    before = list(warnings.filters)
    sys.setswitchinterval(1e-6)
    try:
        folder(root=str(top))
    finally:
        sys.setswitchinterval(interval)
        found, warnings.filters[:] = list(warnings.filters), before
    assert found == before


def exit_code(*arguments):
    with pytest.raises(SystemExit, match=r"\d+") as end:
        main([str(one) for one in arguments])
    return end.value.code


@pytest.mark.parametrize("command", ["check", "distill"])
def test_bad_images_leave_the_program_with_2_and_one_message(top, capsys, command):
    save(top / "train" / "good" / "4.png", size=(30, 20))
    recipe = top / "r.yaml"
    recipe.write_text(f"data: {{name: folder, root: {top}}}\nstudent: {{name: conv_ae}}\n")
    assert exit_code(command, recipe, *(["--out", top / "runs"] if command == "distill" else [])) == 2
    error = capsys.readouterr().err
    assert "set data.size" in error
    assert "Traceback" not in error
    assert not (top / "runs").exists()


def test_images_that_are_too_large_are_told_with_the_option_that_resizes_them(tmp_path, capsys):
    for index in range(10):
        save(tmp_path / "normal" / f"{index}.png", size=(300, 20))
    (tmp_path / "images.csv").write_text("path\n" + "".join(f"normal/{index}.png\n" for index in range(10)))
    recipe = tmp_path / "r.yaml"
    for data in (f"name: folder, root: {tmp_path}", f"name: manifest, path: {tmp_path / 'images.csv'}"):
        recipe.write_text(f"data: {{{data}}}\nstudent: {{name: conv_ae}}\n")
        assert exit_code("check", recipe) == 2
        assert "not input of shape (1, 20, 300): data.size, from 8 to 256, resizes" in capsys.readouterr().err
        recipe.write_text(f"data: {{{data}, size: 300}}\nstudent: {{name: conv_ae}}\n")
        assert exit_code("check", recipe) == 2
        assert "data.size: input should be less than or equal to 256, not 300" in capsys.readouterr().err


def test_a_recipe_without_its_root_is_told_so(tmp_path, capsys):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("data: {name: folder}\nstudent: {name: conv_ae}\n")
    assert exit_code("check", recipe) == 2
    assert "data.root: missing" in capsys.readouterr().err
