import hashlib

import pytest

from kdcompress import recipe as recipes
from kdcompress.errors import InputError
from kdcompress.pinned import Pinned, pinned, unplaced
from kdcompress.recipe import Ref, Student

SHA256 = hashlib.sha256(b"weights").hexdigest()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"weights")
    return path


def test_a_file_gets_the_hash_of_its_content(file):
    found = pinned(str(file))
    assert found == Pinned(str(file), SHA256) == pinned(Pinned(str(file)))
    assert found.read() == b"weights"


def test_with_its_hash_a_file_need_not_be_there():
    known = Pinned("nowhere.pth", SHA256)
    assert pinned(known) is known
    assert pinned(Pinned(None, SHA256)).file is None


def test_a_file_that_is_not_there_is_named_with_the_nearest(file):
    with pytest.raises(ValueError, match=r"b\.pth: no such file; did you mean 'a\.pth'\?"):
        pinned(str(file.with_name("b.pth")))


def test_neither_file_nor_hash_is_refused():
    with pytest.raises(ValueError, match="no file is named"):
        pinned(Pinned())


def test_a_file_that_changed_is_refused(file):
    known = pinned(str(file))
    file.write_bytes(b"others")
    with pytest.raises(InputError, match=f"its sha256 is .* and that of the wanted file is {SHA256}"):
        known.read()


def test_a_hash_alone_cannot_be_read():
    with pytest.raises(InputError, match=f"a file with sha256 {SHA256} is wanted, and none is named"):
        Pinned(None, SHA256).read()


def test_places_of_files_are_left_out_at_any_depth_and_nothing_else_is():
    one = {"file": "a", "sha256": SHA256}
    assert unplaced({"x": [one, 1], "y": {"z": one}}) == {"x": [{"sha256": SHA256}, 1], "y": {"z": {"sha256": SHA256}}}
    other = {"file": "a", "sha256": SHA256, "more": 1}
    assert unplaced({"x": other, "file": "b"}) == {"x": other, "file": "b"}


@pytest.mark.parametrize("part", ["student", "teacher"])
def test_a_digest_is_of_the_content_and_not_of_the_place(part):
    def digest(file, sha256):
        weights = {"file": file, "sha256": sha256}
        teacher = recipes.Teacher(architecture=Ref(name="a", **({"weights": weights} if part == "teacher" else {})))
        student = Student(name="b", **({"weights": weights} if part == "student" else {}))
        return recipes.digest(recipes.Recipe(name="r", data=Ref(name="d"), teacher=teacher, student=student))

    assert digest("a.pth", SHA256) == digest("elsewhere/b.pth", SHA256) == digest(None, SHA256)
    assert digest("a.pth", SHA256) != digest("a.pth", "0" * 64)
