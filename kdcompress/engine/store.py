"""Rows that a stage reads in any order: in memory while that lasts, in a file beyond."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import torch
from torch import Tensor

from kdcompress.disk import reserve
from kdcompress.engine.events import Spilled
from kdcompress.errors import InputError

T = TypeVar("T")


class Store:
    """Rows [N, ...] of one shape and type, written in order once and then read in any order.

    ``file`` is None for rows in memory, which stay on their device. Rows in a file are read by position, not mapped:
    what is mapped counts as the process's own memory.
    """

    def __init__(self, count: int, row: Tensor, file: IO[bytes] | None) -> None:
        self._dtype, self.device, self._file = row.dtype, row.device, file
        self._tensor = torch.empty(0 if file else count, *row.shape, dtype=row.dtype, device=row.device)
        self._row_bytes = row.numel() * row.element_size()
        self._count, self._written = count, 0

    def __len__(self) -> int:
        return self._count

    @property
    def in_file(self) -> bool:
        """Say whether reading waits for a file."""
        return self._file is not None

    def append(self, rows: Tensor) -> None:
        """Write the next rows."""
        if self._file is None:
            self._tensor[self._written : self._written + len(rows)] = rows
        else:
            self._file.write(rows.contiguous().cpu().view(torch.uint8).flatten().numpy().data)
            self._file.flush()
        self._written += len(rows)

    def rows(self, index: Tensor) -> Tensor:
        """Return the rows [n, ...] of an index [n], on the store's device.

        An index [n, K] takes each of K columns of rows [K, ...] by an order of its own.
        """
        if index.ndim == 1:
            return self._read(index, self._tensor, self._row_bytes)
        columns = index.shape[1]
        flat = (index * columns + torch.arange(columns, device=index.device)).flatten()
        found = self._read(flat, self._tensor.flatten(0, 1), self._row_bytes // columns)
        return found.reshape(*index.shape, *found.shape[1:])

    def _read(self, index: Tensor, tensor: Tensor, row_bytes: int) -> Tensor:
        if self._file is None:
            return tensor.index_select(0, index)
        found = torch.empty(len(index), *tensor.shape[1:], dtype=self._dtype)
        buffers = found.view(torch.uint8).flatten().numpy().data
        for place, row in enumerate(index.tolist()):
            start = place * row_bytes
            _read(self._file, buffers[start : start + row_bytes], row * row_bytes)
        return found.to(self.device)

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Return all rows in order, so many at a time."""
        for start in range(0, self._count, size):
            stop = min(start + size, self._count)
            yield self._tensor[start:stop] if self._file is None else self.rows(torch.arange(start, stop))


@dataclass
class Memory:
    """What is left of the memory given for inputs and cached outputs; beyond it, files in ``folder``.

    ``left`` is in bytes, None for as much as is asked for. ``tell`` is told of what goes into a file, before it does.
    """

    left: int | None = None
    folder: Path | None = None
    tell: Callable[[Spilled], None] = lambda _: None

    def store(self, what: str, count: int, row: Tensor) -> Store:
        """Return an empty store for so many rows like one.

        Args:
            what: names the rows in messages, e.g. ``the teacher's outputs``.
            count: number of rows.
            row: an example, on the device that rows are read to.

        Raises:
            InputError: where neither memory nor disk has room for them.
        """
        needed = count * row.numel() * row.element_size()
        if self.left is None:
            return Store(count, row, None)
        if needed <= self.left:
            self.left -= needed
            return Store(count, row, None)
        folder = self.folder if self.folder is not None else Path(tempfile.gettempdir())
        try:
            file = _nameless(folder, needed)
        except OSError as error:
            raise InputError(
                f"engine.memory_bytes: {what} take {needed:,} bytes, more than the {self.left:,} bytes of memory that "
                f"are left for them, and {folder} cannot take them ({error.strerror}): give more of one of the two"
            ) from error
        self.tell(Spilled(what, needed, self.left))
        return Store(count, row, file)


def _nameless(folder: Path, size: int) -> IO[bytes]:
    """Return a file without a name, with room for so many bytes.

    Raises:
        OSError: where the folder has no such room, or is closed.
    """
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as its store
    try:
        reserve(file, folder, size)
    except OSError:
        file.close()
        raise
    return file


def _read(file: IO[bytes], into: memoryview, start: int) -> None:
    """Fill a buffer with what stands in a file from a place on; the system may give less at a time than asked for."""
    while into:
        count = os.preadv(file.fileno(), [into], start)
        assert count, "all rows are written before any is read"
        into, start = into[count:], start + count


def ahead(fetch: Callable[[Tensor], T], batches: Sequence[Tensor], *, threaded: bool) -> Iterator[T]:
    """Return what is fetched for each batch, the next one by a thread of its own while the caller uses this one."""
    if not threaded or not batches:
        yield from map(fetch, batches)
        return
    with ThreadPoolExecutor(1, "kdcompress-fetch") as pool:
        coming = pool.submit(fetch, batches[0])
        for rows in batches[1:]:
            here, coming = coming.result(), pool.submit(fetch, rows)
            yield here
        yield coming.result()
