from pathlib import Path

import pytest
import torch

from kdcompress.data.blank import blank
from kdcompress.errors import DataError


def test_what_fits_is_in_memory_and_the_rest_is_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("kdcompress.data.blank.available_bytes", lambda: 400)
    small, large = blank((10, 10)), blank((11, 10))
    assert [one.untyped_storage().filename is not None for one in (small, large)] == [False, True]
    assert list(tmp_path.iterdir()) == []
    large[3:5] = 7
    assert large.dtype == torch.uint8
    assert large[2:6, 0].tolist() == [0, 7, 7, 0]


def test_the_room_of_a_mapped_file_is_taken_at_once(tmp_path, monkeypatch):
    """A page of it that has no place on the disk would end the process."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("kdcompress.data.blank.available_bytes", lambda: 4)
    sizes = []
    monkeypatch.setattr("torch.from_file", lambda name, **_: sizes.append(Path(name).stat()) or torch.empty(10**6))
    blank((1000, 1000))
    assert sizes[0].st_blocks * 512 >= 10**6


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("kdcompress.data.blank.available_bytes", lambda: 4)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 99})())
    with pytest.raises(
        DataError,
        match=r"take 1,000 bytes, too much for memory, and .* cannot take them \(99 bytes free\): set data.size",
    ):
        blank((10, 100))
