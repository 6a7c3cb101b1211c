import os
import socket
import stat
import tempfile
import threading

import pytest

from kdcompress.disk import reserve, whole
from kdcompress.errors import InputError


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


@pytest.mark.parametrize("old", [True, False])
def test_what_a_symlink_leads_to_gets_the_content(tmp_path, old):
    (tmp_path / "far").mkdir()
    link, file = tmp_path / "link", tmp_path / "far" / "file"
    if old:
        file.write_bytes(b"old")
    link.symlink_to("far/file")
    with whole(link) as written:
        written.write(b"new")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    assert [one.name for one in (tmp_path / "far").iterdir()] == ["file"]


def test_a_pipe_is_written_to_and_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()), daemon=True)
    reader.start()
    with whole(tmp_path / "pipe") as file:
        file.write(b"new")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    reader.join(10)
    assert found == [b"new"]


def test_a_socket_and_a_link_to_itself_are_refused(tmp_path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket"))
        with pytest.raises(
            InputError, match=r"socket: cannot write: it is a disk or a socket \(allowed: a file, a pipe"
        ):
            whole(tmp_path / "socket").__enter__()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="loop: cannot write: Too many levels"):
        whole(tmp_path / "loop").__enter__()


def test_a_name_may_be_as_long_as_the_system_takes(tmp_path):
    with whole(tmp_path / ("x" * 255)) as file:
        file.write(b"new")
    assert (tmp_path / ("x" * 255)).read_bytes() == b"new"
