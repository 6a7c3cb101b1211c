"""How much memory an ONNX file takes, run as a script in a process of its own: by ONNX Runtime, as on a device."""

from __future__ import annotations

import sys
from pathlib import Path


def grown(file: str, shape: tuple[int, ...], dtype: str) -> int:
    """Return by how many bytes this process grows, at most, while it loads a file and scores one sample.

    Raises:
        OSError: where the system does not say (only Linux does).
    """
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # From here on the peak is what it is now: a process that begins has had a higher one.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    session.run(None, {session.get_inputs()[0].name: np.zeros((1, *shape), dtype)})
    return _status("VmHWM") - before


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


if __name__ == "__main__":
    given, sides, kind = sys.argv[1:]
    print(grown(given, tuple(map(int, sides.split(","))), kind))
