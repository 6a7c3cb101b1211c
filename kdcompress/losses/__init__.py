"""Losses by name: of a detector on its own, and of a detector against another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdcompress.registry import Entry, Registry

if TYPE_CHECKING:
    from kdcompress.stage import Loss

_DETECTION = "kdcompress.losses.detection"
_DISTILLATION = "kdcompress.losses.distillation"
_CLASSIFICATION = "kdcompress.losses.classification"
_RELATIONS = "kdcompress.losses.relations"

LOSSES: Registry[Loss] = Registry(
    "loss",
    {
        "reconstruction": Entry(f"{_DETECTION}:reconstruction", "L1 between the input and its reconstruction."),
        "latent_consistency": Entry(
            f"{_DETECTION}:latent_consistency",
            "L2 between the latents of the input and of its reconstruction.",
        ),
        "feature_matching": Entry(
            f"{_DETECTION}:feature_matching",
            "L2 between the critic's features of real and reconstructed input.",
        ),
        "adversarial": Entry(f"{_DETECTION}:adversarial", "The critic takes the reconstruction for real."),
        "critic": Entry(f"{_DETECTION}:critic", "The critic tells real from reconstructed input."),
        "distil_latent": Entry(f"{_DISTILLATION}:distil_latent", "L2 between the two detectors' latents."),
        "distil_reconstruction": Entry(
            f"{_DISTILLATION}:distil_reconstruction", "L1 between the two detectors' reconstructions."
        ),
        "distil_latent_of_reconstruction": Entry(
            f"{_DISTILLATION}:distil_latent_of_reconstruction",
            "L2 between the two detectors' latents of their reconstructions.",
        ),
        "distil_score": Entry(
            f"{_DISTILLATION}:distil_score", "One less the correlation of the two detectors' scores."
        ),
        "contrast": Entry(f"{_DETECTION}:contrast", "The detector tells normals from queries made of them."),
        "divergence": Entry(f"{_DETECTION}:divergence", "Divergence of the codes' distribution from its prior."),
        "one_class": Entry(f"{_DETECTION}:one_class", "Distance of the normals from the detector's centre."),
        "feature_distance": Entry(
            f"{_DETECTION}:feature_distance",
            "Distance of imitated or rebuilt features from the detector's frozen ones.",
        ),
        "transformation": Entry(
            f"{_CLASSIFICATION}:transformation", "The detector tells which transformation was applied."
        ),
        "distil_features": Entry(
            f"{_DISTILLATION}:distil_features", "L2 between the two detectors' inner features, by channel."
        ),
        "distil_logits": Entry(f"{_CLASSIFICATION}:distil_logits", "Divergence of the two detectors' softened logits."),
        "distil_map": Entry(
            f"{_DISTILLATION}:distil_map", "One less the correlation of the two detectors' anomaly maps."
        ),
        "distil_attention": Entry(
            f"{_DISTILLATION}:distil_attention", "Squared distance of where the two detectors' inner maps are active."
        ),
        "distil_distances": Entry(
            f"{_RELATIONS}:distil_distances", "Huber's loss of the distances between samples, in units of their mean."
        ),
        "distil_angles": Entry(f"{_RELATIONS}:distil_angles", "Huber's loss of the angles that three samples make."),
        "distil_similarity": Entry(
            f"{_RELATIONS}:distil_similarity", "Squared distance of the products between each sample and all others."
        ),
    },
)
