import os
import tempfile

import pytest

from kdcompress.disk import reserve


def blocks(file):
    """The bytes that a file takes on its disk."""
    return os.fstat(file.fileno()).st_blocks * 512


def test_room_is_taken_before_anything_is_written(tmp_path):
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        assert blocks(file) == 0
        reserve(file, tmp_path, 100_000)
        assert blocks(file) >= 100_000
        file.write(b"ab")
        file.seek(0)
        assert file.read(3) == b"ab\0"


def test_more_than_the_disk_has_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000})())
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        reserve(file, tmp_path, 1_000)
        with pytest.raises(OSError, match="1,000 bytes free"):
            reserve(file, tmp_path, 1_001)


def test_what_the_system_refuses_is_refused(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                reserve(file, tmp_path, 2**21)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
