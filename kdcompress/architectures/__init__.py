"""Families of detectors, each buildable at any width."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from kdcompress.registry import Entry, Registry

if TYPE_CHECKING:
    from kdcompress.types import Pair

Architecture: TypeAlias = "Callable[..., Pair]"
"""``build(input_shape, *, width=1.0, **options) -> Pair``; the keyword-only options come from recipes."""

ARCHITECTURES: Registry[Architecture] = Registry(
    "architecture",
    {
        "conv_ae": Entry(
            "kdcompress.architectures.conv_ae:conv_ae",
            "Convolutional autoencoder; the score is the reconstruction error.",
        ),
        "ede_gan": Entry(
            "kdcompress.architectures.ede_gan:ede_gan",
            "Encoder, decoder, encoder with a critic; the score is the distance of the two latents.",
        ),
        "mlp_ede_gan": Entry(
            "kdcompress.architectures.mlp_ede_gan:mlp_ede_gan",
            "P-KDGAN's detector of dense layers, for tables; the score is the distance of the two latents.",
        ),
        "conv1d_ede_gan": Entry(
            "kdcompress.architectures.conv1d_ede_gan:conv1d_ede_gan",
            "P-KDGAN's detector along time, for series; the score is the distance of the two latents.",
        ),
        "mlp_ae": Entry(
            "kdcompress.architectures.mlp_ae:mlp_ae",
            "Autoencoder of dense layers, for tables; the score is the reconstruction error.",
        ),
        "vae": Entry(
            "kdcompress.architectures.vae:vae",
            "Variational autoencoder of dense layers, for tables; the score is its negative evidence lower bound.",
        ),
        "conv1d_ae": Entry(
            "kdcompress.architectures.conv1d_ae:conv1d_ae",
            "Convolutional autoencoder for windows of a series; the score is the reconstruction error.",
        ),
        "deep_svdd": Entry(
            "kdcompress.architectures.deep_svdd:deep_svdd",
            "One pass to a point; the score is its distance from a centre.",
        ),
        "score_net": Entry(
            "kdcompress.architectures.score_net:score_net",
            "One number in one pass: what learns any teacher's scores, whatever the teacher does for them.",
        ),
        "map_net": Entry(
            "kdcompress.architectures.map_net:map_net",
            "One pass to a map of where an image is odd; the score is its largest place.",
        ),
        "prototypes": Entry(
            "kdcompress.architectures.prototypes:prototypes",
            "Distance to the nearest of a few learned points: a memory of normals made small.",
        ),
        "deformable_neighbours": Entry(
            "kdcompress.architectures.deformable:deformable_neighbours",
            "Distance of an image from the nearest of the normals that it keeps, whose places may have moved a little.",
        ),
        "deformable_prototypes": Entry(
            "kdcompress.architectures.deformable:deformable_prototypes",
            "Distance of an image from the nearest of a few learned templates, whose places may have moved a little.",
        ),
        "affine_net": Entry(
            "kdcompress.architectures.affine_net:affine_net",
            "Dense network that tells which random affine map was applied to a row; the score is how badly it does.",
        ),
        "nearest_neighbours": Entry(
            "kdcompress.architectures.nearest_neighbours:nearest_neighbours",
            "Distance to the nearest of the training normals, which it keeps; nothing to train.",
        ),
        "isolation_forest": Entry(
            "kdcompress.architectures.isolation_forest:isolation_forest",
            "Trees of random cuts; the score is how soon they set a row apart. Nothing to train.",
        ),
        "ensemble": Entry(
            "kdcompress.architectures.ensemble:ensemble",
            "Several detectors as one; the score is the mean of theirs, standardised over the training normals.",
        ),
        "module": Entry(
            "kdcompress.architectures.module:module",
            "A network of your own, from a plug-in, as it is.",
        ),
        "sliced": Entry(
            "kdcompress.architectures.sliced:sliced",
            "A network of your own with fewer channels: a student of the same network.",
        ),
        "onnx": Entry(
            "kdcompress.architectures.onnx_file:onnx",
            "An exported ONNX model, as it is: a teacher.",
        ),
        "pt2": Entry(
            "kdcompress.architectures.pt2_file:pt2",
            "A model that `torch.export.save` wrote, as it is: a teacher.",
        ),
        "estimator": Entry(
            "kdcompress.architectures.estimator:estimator",
            "A detector of scikit-learn or PyOD, fitted to the training normals: a teacher.",
        ),
        "skops": Entry(
            "kdcompress.architectures.skops_file:skops",
            "A fitted detector that `skops.io.dump` wrote, as it is: a teacher.",
        ),
        "patch_memory": Entry(
            "kdcompress.architectures.patch_memory:patch_memory",
            "Distance of an image's oddest patch from normal ones, by a frozen network's features; nothing to train.",
        ),
        "stfpm": Entry(
            "kdcompress.architectures.stfpm:stfpm",
            "Network that imitates a frozen one's features on normals; the score is how badly it does.",
        ),
        "reverse_distillation": Entry(
            "kdcompress.architectures.reverse_distillation:reverse_distillation",
            "Decoder that rebuilds a frozen network's features from a narrow code; the score is its error.",
        ),
        "transform_net": Entry(
            "kdcompress.architectures.transform_net:transform_net",
            "Residual network that tells how an image was transformed; the score is how badly it does.",
        ),
    },
)
