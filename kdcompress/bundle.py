"""A detector in one file: tensors and a JSON manifest, nothing that runs code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pydantic
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from kdcompress import __version__, plugins
from kdcompress.architectures import ARCHITECTURES
from kdcompress.errors import BundleError, InputError, unknown
from kdcompress.pinned import unplaced
from kdcompress.product import built
from kdcompress.rundir import write_atomic
from kdcompress.signature import keys, problems
from kdcompress.types import Detector, Pair

FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of its detector.

    Attributes:
        architecture: registered name.
        options: all options of the builder, the width among them; in a file without the places of others.
        input_shape: of one raw sample, e.g. (C, H, W).
        threshold: above it a score means anomaly; None where none was chosen.
        data: the recipe's data section that it was trained on, without paths.
        recipe: name of the recipe.
        digest: of the run.
        sha256: of the tensors and of this manifest without it.
        arm: which detector of its run it is: ``teacher``, ``student``, ``control``, or one at the end of a stage.
        critic: whether the training's critic is in the file too.
        plugin: name and hash of the plug-in that the architecture came from; None for a built-in.
        version: of kdcompress.
        format: of this manifest.
    """

    architecture: str
    options: dict[str, Any]
    input_shape: tuple[int, ...]
    threshold: Annotated[float, pydantic.Field(allow_inf_nan=False)] | None = None
    data: dict[str, Any] = field(default_factory=dict)
    recipe: str = ""
    digest: str = ""
    sha256: str = ""
    arm: str = ""
    critic: bool = False
    plugin: plugins.Origin | None = None
    version: str = __version__
    format: int = FORMAT


_MANIFEST = pydantic.TypeAdapter(Manifest)


@dataclass(frozen=True)
class Bundle:
    """A manifest and the modules that it describes."""

    manifest: Manifest
    pair: Pair

    @property
    def detector(self) -> Detector:
        """The detector."""
        return self.pair.detector


def build(architecture: str, options: dict[str, Any], input_shape: tuple[int, ...], seed: int) -> Pair:
    """Build a pair with weights that depend on the seed alone; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return built(ARCHITECTURES, Pair, architecture, options, input_shape)


def save(path: Path, manifest: Manifest, pair: Pair) -> str:
    """Write a bundle and return the hash of its tensors; a critic goes along where the manifest says so."""
    critic = manifest.critic and pair.critic is not None
    tensors = _tensors(pair, critic=critic)
    plain = {**asdict(manifest), "options": unplaced(manifest.options), "critic": critic}
    if manifest.plugin is None and (origin := plugins.owner(ARCHITECTURES.kind, manifest.architecture)) is not None:
        plain["plugin"] = asdict(origin)
    plain["sha256"] = _hash(tensors, plain)
    text = json.dumps(plain, allow_nan=False, sort_keys=True)
    write_atomic(path, safetensors.torch.save(tensors, {"kdcompress": text}))
    return str(plain["sha256"])


def _metadata(path: Path) -> str:
    """Return the text of a bundle's manifest."""
    if not path.is_file():
        raise BundleError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise BundleError(f"{path}: not a safetensors file, or a damaged one: {error}") from error
    if "kdcompress" not in metadata:
        raise BundleError(f"{path}: a safetensors file, but not a kdcompress bundle: it has no manifest")
    return str(metadata["kdcompress"])


def read_manifest(path: Path) -> Manifest:
    """Read a bundle's manifest alone.

    Raises:
        BundleError: where the file is missing, is no bundle, or is of a newer format.
    """
    text = _metadata(path)
    try:
        plain = json.loads(text)
        known = plain["format"]
        if isinstance(known, int) and known > FORMAT:
            raise BundleError(f"{path}: written by a newer kdcompress (format {known}, known here: {FORMAT})")
        return _MANIFEST.validate_python(plain)
    except pydantic.ValidationError as error:
        said = "; ".join(problems(error, "", plain))
        raise BundleError(f"{path}: its manifest is damaged: {said}") from error
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise BundleError(f"{path}: its manifest is damaged: {error}") from error


def load(path: str | Path) -> Bundle:
    """Rebuild a detector from its file, in eval mode on the CPU.

    Raises:
        BundleError: where the file is missing, damaged, altered, or wants an architecture that is not registered.
    """
    path = Path(path)
    manifest = read_manifest(path)
    try:
        tensors = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, KeyError) as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error
    if _hash(tensors, json.loads(_metadata(path))) != manifest.sha256:
        raise BundleError(f"{path}: its tensors or its manifest are not those that were saved: the hash differs")
    if manifest.architecture not in ARCHITECTURES:
        origin = f"it comes from the plug-in {manifest.plugin}, and a bundle imports no code by itself: give it"
        how = f"{origin if manifest.plugin else 'give the plug-in that has it'} with --plugin FILE"
        raise BundleError(f"{path}: {unknown('architecture', manifest.architecture, ARCHITECTURES)}; {how}")
    unfit = f"{path}: does not fit the architecture '{manifest.architecture}'{_another(manifest)}"
    try:
        _check_shapes(manifest, tensors)
        pair = build(manifest.architecture, manifest.options, manifest.input_shape, seed=0)
        pair = Pair(pair.detector, pair.critic if manifest.critic else None)
        for name, part in pair.parts().items():
            _fill(part, {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")})
    except pydantic.ValidationError as error:
        allowed = keys(ARCHITECTURES[manifest.architecture], "options")
        raise BundleError(f"{unfit}: {'; '.join(problems(error, 'options', manifest.options, allowed))}") from error
    except (TypeError, ValueError, LookupError, ArithmeticError, RuntimeError, InputError) as error:
        raise BundleError(f"{unfit}: {error}") from error
    return Bundle(manifest, pair)


def _another(manifest: Manifest) -> str:
    origin = plugins.owner(ARCHITECTURES.kind, manifest.architecture)
    if manifest.plugin == origin:
        return ""
    return f" of {origin or 'this package'}; it was made with that of {manifest.plugin or 'another version'}"


def _check_shapes(manifest: Manifest, tensors: dict[str, Tensor]) -> None:
    """Compare the shapes before any memory is taken: a manifest may ask for a network of terabytes.

    Raises:
        BundleError: where names or shapes differ from those that the manifest's options give.
    """
    try:
        with torch.device("meta"):
            pair = built(ARCHITECTURES, Pair, manifest.architecture, manifest.options, manifest.input_shape)
    except RuntimeError:
        return  # a plug-in that looks at values while it is built; filling its real tensors compares them too
    parts = pair.parts() if manifest.critic else {"detector": pair.detector}
    wanted = {f"{name}.{key}": tuple(v.shape) for name, part in parts.items() for key, v in part.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if wrong := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        name = wrong[0]
        raise BundleError(
            f"{len(wrong)} of its tensors differ, e.g. {name}: {found.get(name, 'missing')} in the file, "
            f"{wanted.get(name, 'none')} by the options"
        )


def _fill(part: nn.Module, tensors: dict[str, Tensor]) -> None:
    part.load_state_dict(tensors)
    part.eval()


def _tensors(pair: Pair, *, critic: bool) -> dict[str, Tensor]:
    parts = pair.parts() if critic else {"detector": pair.detector}
    return {
        f"{name}.{key}": value.detach().cpu().contiguous().clone()
        for name, part in parts.items()
        for key, value in part.state_dict().items()
    }


def _hash(tensors: dict[str, Tensor], manifest: dict[str, Any]) -> str:
    """Return the hash of everything in a bundle but the hash itself."""
    hasher = hashlib.sha256()
    said = {key: value for key, value in manifest.items() if key != "sha256"}
    hasher.update(json.dumps(said, allow_nan=False, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        hasher.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        hasher.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()
