"""``kdcompress init``: a first recipe of one's own."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from kdcompress.errors import InputError
from kdcompress.rundir import write_atomic

FILE = "recipe.yaml"

RECIPE = """\
# A recipe says what a run does. What is left out has a default; `kdcompress show KIND NAME` lists options.
# Completion in an editor: kdcompress schema > recipe.schema.json, and as this file's first line
#   yaml-language-server: $schema=recipe.schema.json          (behind a #)
name: {name}
description: A small detector for handwritten eights
seed: 0

# One class is normal, all others are anomalies. Other data sets: kdcompress list data
data: {{name: digits, normal_class: 8}}

# The detector to learn from: {{recipe: a recipe}}, {{bundle: a file}}, or one to train first:
teacher:
  architecture: {{name: ede_gan, base: 64, latent: 32, size: 16}}
  strategy: {{name: scratch, epochs: 60, batch_size: 16}}

# The small detector. Its size: macs_ratio (how many times fewer MACs than the teacher), macs, params, or width.
student: {{name: ede_gan, macs_ratio: 50}}

# How it learns. Others: kdcompress list strategies
strategy:
  name: progressive
  batch_size: 16
  steps:
    - {{teacher: frozen, gan: true, epochs: 150}}
    - {{teacher: joint, gan: true, epochs: 20, learning_rate: 1.0e-3}}

# The same student without a teacher, to see what the teacher gave.
control: true

# The threshold is chosen so that this share of held-out normals is above it.
evaluation: {{false_positive_rate: 0.05}}

# precision: auto, fp32 or bf16; threads: as many as torch likes unless set.
engine: {{precision: auto}}

# Files with parts of your own, beside this one; each is also given as --plugin FILE, for a recipe imports no code.
# plugins: [my_detector.py]
"""


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def command(folder: Path) -> None:
    """Write a commented recipe into DIR, to start from; nothing is overwritten."""
    path = folder / FILE
    if path.exists() or path.is_symlink():
        raise InputError(f"{path}: is there already, and nothing is overwritten; name another folder")
    write_atomic(path, RECIPE.format(name=_name(folder)).encode())
    quoted = shlex.quote(str(path))
    click.echo(f"wrote {path}\nnext: kdcompress check {quoted}\n      kdcompress distill {quoted}")


def _name(folder: Path) -> str:
    """Return a recipe's name made of its folder's."""
    letters = "".join(
        one if one.isascii() and (one.isalnum() or one in "._-") else "-" for one in folder.resolve().name
    )
    return letters.strip("._-")[:100] or "my-detector"
