import gzip
import hashlib

import pytest

from kdcompress.data.files import read_verified
from kdcompress.errors import DataError

CONTENT = b"published content"
# No time of making in it: it is a name of a test.
WHOLE = gzip.compress(CONTENT, mtime=0)
EXPECTED = {"a": hashlib.md5(CONTENT).hexdigest()}


def test_plain_file_is_read_and_preferred_to_its_gzipped_copy(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    (tmp_path / "a.gz").write_bytes(b"rubbish")
    assert read_verified(tmp_path, EXPECTED) == {"a": CONTENT}


def test_gzipped_file_is_read_without_writing_beside_it(tmp_path):
    (tmp_path / "a.gz").write_bytes(WHOLE)
    assert read_verified(tmp_path, EXPECTED) == {"a": CONTENT}
    assert [path.name for path in tmp_path.iterdir()] == ["a.gz"]


def test_missing_file_is_left_out(tmp_path):
    assert read_verified(tmp_path, EXPECTED) == {}
    (tmp_path / "file").write_bytes(b"")
    assert read_verified(tmp_path / "file", EXPECTED) == {}


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b"x", CONTENT.replace(b"p", b"q")])
def test_other_content_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{path} is damaged or not the published file: its {len(content)} bytes"):
        read_verified(tmp_path, EXPECTED)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"no gzip", WHOLE[:-9], gzip.compress(b"other", mtime=0)])
def test_damaged_gzip_is_refused(tmp_path, content):
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.gz is damaged or not the published file"):
        read_verified(tmp_path, EXPECTED)


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match=rf"cannot read {tmp_path}/a: Is a directory"):
        read_verified(tmp_path, EXPECTED)
