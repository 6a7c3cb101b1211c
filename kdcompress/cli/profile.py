"""``kdcompress profile``: what a detector costs."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdcompress.cli import options
from kdcompress.errors import InputError, unknown
from kdcompress.plugins import Plugin

if TYPE_CHECKING:
    from kdcompress.exporting.inputs import Inputs
    from kdcompress.rundir import RunDir


@click.command()
@click.argument("target")
@click.option("--input", "shape", metavar="C,H,W", help="Input shape; needed for an architecture's name.")
@click.option("--against", metavar="FILE", help="Another exported file, e.g. the teacher's, timed in the same run.")
@options.as_json
@options.device
@options.plugin
def command(
    target: str, shape: str | None, against: str | None, as_json: bool, device: str, plugins: tuple[Plugin, ...]
) -> None:
    """Count and time a detector: TARGET is a bundle, an exported file, a run or the name of an architecture.

    An exported file is timed on the CPU: latency on one thread, samples a second on one and on all. Of a run, student
    and teacher are exported, the student in eight bits too, and timed side by side; its report shows it from then on.
    Without the run's data on this machine files are compared on made-up inputs, and there is none in eight bits;
    figures that were measured with the data are not replaced by such ones.
    """
    from kdcompress.exporting import ENDINGS

    is_run, is_file = (Path(target) / "result.json").is_file(), Path(target).suffix.lower() in ENDINGS
    if device not in ("auto", "cpu") and (is_run or is_file):
        raise InputError(f"--device: exported files are timed on the CPU, not on '{device}' (allowed: auto, cpu)")
    if is_run:
        if shape is not None or against is not None:
            raise InputError(f"{target}: a run knows its input and its teacher (not allowed: --input, --against)")
        _run(target, as_json=as_json)
        return
    if is_file:
        _file(target, shape, against, as_json=as_json)
        return
    if against is not None:
        raise InputError(f"--against: compares exported files, and {target} is none (allowed: {', '.join(ENDINGS)})")

    import torch

    from kdcompress import bundle
    from kdcompress.architectures import ARCHITECTURES
    from kdcompress.cli.summary import show_profile
    from kdcompress.engine.plan import device_for
    from kdcompress.exporting.metadata import input_of
    from kdcompress.profiling.profile import counters_json, profile

    place = device_for(device)
    if target in ARCHITECTURES and not Path(target).exists():
        if shape is None:
            raise InputError(f"--input: missing; the architecture '{target}' needs a shape, e.g. --input 1,28,28")
        input_shape = options.shape(shape)
        detector = bundle.build(target, {}, input_shape, seed=0).detector
    elif Path(target).exists() or target.endswith(".safetensors"):
        loaded = bundle.load(target)
        input_shape, detector = loaded.manifest.input_shape, loaded.detector
        if shape is not None and options.shape(shape) != input_shape:
            raise InputError(f"--input {shape}: {target} takes {','.join(map(str, input_shape))}")
    else:
        raise InputError(unknown("architecture or file", target, ARCHITECTURES))
    raw = torch.zeros(1, *input_shape, dtype=getattr(torch, input_of(input_shape).dtype))
    cost = profile(detector, raw, device=place)
    if as_json:
        plain = {**dataclasses.asdict(cost), "counters": counters_json(cost), "input_shape": input_shape}
        click.echo(json.dumps(plain, indent=1))
    else:
        show_profile(cost, input_shape)


def _file(target: str, shape: str | None, against: str | None, *, as_json: bool) -> None:
    from kdcompress.cli.summary import show_file_profile
    from kdcompress.exporting.timing import profile

    cost = profile(Path(target))
    if shape is not None and options.shape(shape) != cost.input_shape:
        raise InputError(f"--input {shape}: {target} takes {','.join(map(str, cost.input_shape))}")
    other = profile(Path(against)) if against is not None else None
    if as_json:
        plain = dataclasses.asdict(cost)
        if other is not None:
            plain["against"] = dataclasses.asdict(other)
        click.echo(json.dumps(plain, indent=1))
    else:
        show_file_profile(cost, other)


def _run(target: str, *, as_json: bool) -> None:
    from kdcompress.cli.summary import show_deployment
    from kdcompress.cli.targets import inputs, saved
    from kdcompress.exporting import onnx
    from kdcompress.exporting.measured import Side, measured
    from kdcompress.reporting.files import read, write_run
    from kdcompress.rundir import RunDir

    onnx.check_installed()
    run = RunDir.existing(Path(target))

    def side(arm: str) -> Side | None:
        if not run.bundle(arm).is_file():
            return None
        source, loaded, section = saved(str(run.bundle(arm)), ())
        return Side(loaded, inputs(source, loaded, section, asked=False))

    if (student := side("student")) is None:
        raise InputError(f"{run.path}: its student.safetensors is missing")
    # Held while it is measured: another process beside this one would spoil the figures of both.
    with run.lock(), tempfile.TemporaryDirectory() as folder:
        _check_replaced(run, student.given)
        read(run, exported=False)
        files = Path(folder)
        found = measured(files, student, side("teacher"), tell=lambda text: click.echo(f"{text} ...", err=True))
        run.write_deployment(found)
        write_run(run)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=1))
    else:
        show_deployment(found, run.path)


def _check_replaced(run: RunDir, given: Inputs) -> None:
    """Check the figures that new ones take the place of; damaged ones are told of and measured again.

    Raises:
        InputError: where they were measured with the run's data, and the new ones would not be.
    """
    from kdcompress.exporting.inputs import MADE_UP

    try:
        known = run.deployment()
    except InputError as error:
        click.echo(f"note: {error}; measured again", err=True)
        return
    if known is None or not given.source.endswith(MADE_UP):
        return
    source = known.student.agreement.source
    if not source.endswith(MADE_UP):
        raise InputError(
            f"{run.path}: its deployment.json was measured on {source}, which are not on this machine (allowed: "
            "profile where they are, or move deployment.json away to measure without them)"
        )
