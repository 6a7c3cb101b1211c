"""Room for raw data: in memory, or in a file where they would take too much of it."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from kdcompress.disk import reserve
from kdcompress.errors import DataError
from kdcompress.memory import available_bytes

_SHARE = 4
"""Raw data of more than one part in so many of the available memory go into a file."""


def blank(shape: tuple[int, ...]) -> Tensor:
    """Return uint8 data of a shape to be filled in.

    Large ones are mapped from a file without a name in the system's temporary folder (``TMPDIR``): their pages are the
    system's to drop, and slices of them copy nothing.

    Raises:
        DataError: where neither memory nor disk has room.
    """
    needed = math.prod(shape)
    if needed <= available_bytes() // _SHARE:
        return torch.empty(shape, dtype=torch.uint8)
    folder = Path(tempfile.gettempdir())
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            reserve(file, folder, needed)
            # The mapping outlives the file's name, and the space is given back with the mapping.
            return torch.from_file(file.name, shared=True, size=needed, dtype=torch.uint8).reshape(shape)
    except OSError as error:
        raise DataError(
            f"the images take {needed:,} bytes, too much for memory, and {folder} cannot take them ({error.strerror}): "
            "set data.size, or TMPDIR to a folder with more room"
        ) from error
