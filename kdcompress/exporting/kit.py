"""What goes to whoever runs a model: the file, what to know of it, its check sum, and how to run it."""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path

from kdcompress.bundle import Manifest
from kdcompress.errors import InputError
from kdcompress.exporting.card import card
from kdcompress.exporting.exported import load
from kdcompress.exporting.metadata import Input
from kdcompress.exporting.parity import Parity
from kdcompress.results import Result
from kdcompress.rundir import write_atomic

CARD, SUMS, EXAMPLE = "model_card.md", "SHA256SUMS", "example.py"

_UNFIT = ("Cc", "Cs")
"""Unicode's categories of control characters, and of bytes that are no text."""

_EXAMPLE = '''"""Score one {kind} with numpy and onnxruntime alone: python example.py [FILE.npy]

FILE.npy: an array {dtype} {shape}{hint}. Without it, a made-up {kind} in the model is scored.
"""

import base64
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

model = Path(__file__).with_name({model!r})
session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
said = json.loads(session.get_modelmeta().custom_metadata_map["kdcompress"])
shape, dtype = said["input"]["shape"], np.dtype(said["input"]["dtype"])
if len(sys.argv) > 1:
    sample = np.load(sys.argv[1], allow_pickle=False)
else:
    sample = np.frombuffer(base64.b64decode(said["self_test"]["inputs"]), dtype).reshape(-1, *shape)[0]
if list(sample.shape) != shape or sample.dtype != dtype:
    sys.exit(f"expected {{dtype}} {{shape}}, found {{sample.dtype}} {{list(sample.shape)}}")
(score,) = session.run(["score"], {{"input": sample[None]}})[0].tolist()
threshold = said["threshold"]
decision = "no threshold" if threshold is None else said["labels"][str(int(score > threshold))]
print(f"score {{score:.9g}}, {{decision}} (higher is more anomalous, threshold {{threshold}})")
'''


def check_free(folder: Path, model: str) -> None:
    """Check, before anything is made, that a kit's folder holds nothing but the same kit, and its model's name is fit.

    Raises:
        InputError: where the folder is a file or holds something else, as another model, or where the name has what
            a line of the check sums cannot have.
    """
    if any(unicodedata.category(letter) in _UNFIT for letter in model):
        raise InputError(f"--kit: the file would be {model!r}: a name in a kit has no control characters and is UTF-8")
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise InputError(f"--kit: {folder} is a file, a folder is to be there; say another folder: --out")
    known = {model, CARD, SUMS, EXAMPLE}
    there = sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []
    if other := [name for name in there if name not in known]:
        raise InputError(f"--kit: {folder} holds something else already: {', '.join(other)}; say another folder: --out")


def write(folder: Path, model: Path, manifest: Manifest, parity: Parity, result: Result | None) -> None:
    """Write a kit of an exported file; the check sums last, so that an unfinished kit has none that fit.

    Args:
        folder: of the kit.
        model: the exported file, which is copied.
        manifest: of its bundle.
        parity: what the gate has found.
        result: of the run that trained it, if that is known.
    """
    metadata = load(model).metadata
    content = {
        model.name: model.read_bytes(),
        CARD: card(model.name, metadata, manifest, parity, result).encode(),
        EXAMPLE: example(model.name, metadata.input).encode(),
    }
    for name, data in content.items():
        write_atomic(folder / name, data)
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(content.items()))
    write_atomic(folder / SUMS, sums.encode())


def example(model: str, known: Input) -> str:
    """Return a program that scores one sample."""
    hint = ", 0 to 255, channels first" if known.kind == "image" else ", unscaled"
    return _EXAMPLE.format(model=model, kind=known.kind, dtype=known.dtype, shape=list(known.shape), hint=hint)
