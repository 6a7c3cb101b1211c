"""Small detectors to export: fitted as far as they go without training, with a threshold."""

import dataclasses

import torch

from kdcompress import bundle
from kdcompress.bundle import Bundle, Manifest
from kdcompress.exporting.inputs import made_up

SMALL = {
    "conv_ae": ((1, 12, 10), {"base": 4, "latent": 4}),
    "conv_ae resized": ((3, 20, 14), {"base": 4, "latent": 4, "size": 12}),
    "ede_gan": ((1, 16, 16), {"base": 4, "latent": 4}),
    "ede_gan joint": ((1, 8, 8), {"base": 4, "latent": 4, "norm": "instance", "score": "joint"}),
    "transform_net": ((3, 8, 8), {"base": 4, "depth": 2}),
    "transform_net combined": (
        (1, 12, 12),
        {"base": 4, "depth": 2, "transforms": "rotations_shifts", "score": "combined"},
    ),
    "mlp_ae": ((7,), {}),
    "deep_svdd": ((1, 16, 16), {"base": 4}),
    "deep_svdd rows": ((7,), {"base": 8}),
    "score_net": ((1, 16, 16), {"base": 4}),
    "prototypes": ((7,), {"points": 8}),
    "prototypes of images": ((1, 8, 8), {"points": 8}),
    "affine_net": ((7,), {"base": 8, "maps": 4, "projected": 5}),
    "nearest_neighbours": ((7,), {"kept": 100, "neighbours": 3}),
    "deformable_neighbours": ((1, 12, 12), {"kept": 40}),
    "deformable_prototypes": ((3, 12, 10), {"points": 4, "size": 12}),
    "isolation_forest": ((7,), {"trees": 10, "samples": 32}),
    "series": ((2, 9), {}),
    "conv1d_ae": ((2, 32), {"base": 4, "latent": 4}),
    "mlp_ede_gan": ((7,), {"base": 8, "latent": 4}),
    "conv1d_ede_gan": ((2, 32), {"base": 4, "latent": 4}),
    "map_net": ((1, 16, 16), {"base": 4}),
    "vae": ((7,), {"base": 8}),
    "ensemble": ((7,), {"members": ({"name": "mlp_ae", "base": 8}, {"name": "nearest_neighbours", "kept": 40})}),
    "patch_memory": ((3, 32, 32), {"patches": 20}),
    "stfpm": ((1, 32, 32), {"width": 0.1}),
    "reverse_distillation": ((1, 32, 32), {"width": 0.1}),
}
"""Input shape and options by name; the first word is the architecture, a series goes through ``mlp_ae``."""


def small(name):
    """Return a bundle of one of `SMALL`; rows have columns of very different units."""
    shape, options = SMALL[name]
    architecture = "mlp_ae" if name == "series" else name.split()[0]
    pair = bundle.build(architecture, options, shape, seed=0)
    detector = pair.detector.eval()
    normals = made_up(detector, shape, 120).raw
    if len(shape) != 3:
        normals = normals * torch.logspace(-2, 2, shape[-1]) + torch.arange(float(shape[-1]))
    with torch.no_grad():
        detector.adapt([normals])
        detector.calibrate([detector.prepare(normals)])
        threshold = float(detector.score(normals).double().quantile(0.9))
    manifest = Manifest(architecture, options, shape, threshold, recipe="r", digest="d", sha256="s")
    return Bundle(manifest, pair)


def inputs(one, count=1000):
    """Return made-up inputs of a bundle's shape."""
    return made_up(one.detector, one.manifest.input_shape, count)


def with_normals(one, count=1000):
    """Return the same, some of which are said to be held-out normals."""
    given = inputs(one, count)
    return dataclasses.replace(given, normals=given.raw[: count // 3])
