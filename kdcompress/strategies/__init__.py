"""Ways of training a student, each a pure function from options to stages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from kdcompress.registry import Entry, Registry

if TYPE_CHECKING:
    from kdcompress.stage import Stage

Strategy: TypeAlias = "Callable[..., tuple[Stage, ...]]"
"""``build(student, teacher, *, **options) -> stages`` on the two sides' interfaces.

Where ``teacher`` is None the stages are those of the control: the same student on the same number of steps, batch
sizes, schedules and learning rates, with its own losses alone.
"""

_NARROWED = "a network of your own with fewer channels is a student, student: {name: sliced} (docs/own_detector.md)"

STRATEGIES: Registry[Strategy] = Registry(
    "strategy",
    {
        "scratch": Entry(
            "kdcompress.strategies.scratch:scratch", "Train a detector on its own losses, without a teacher."
        ),
        "frozen": Entry(
            "kdcompress.strategies.frozen:frozen",
            "Learn from a frozen teacher, with or without the student's own GAN loss.",
        ),
        "joint": Entry(
            "kdcompress.strategies.joint:joint",
            "Train teacher and student together, with or without the student's own GAN loss.",
        ),
        "progressive": Entry(
            "kdcompress.strategies.progressive:progressive",
            "Any sequence of steps with a frozen or a joint teacher; by default P-KDGAN's two.",
        ),
        "logits": Entry(
            "kdcompress.strategies.logits:logits",
            "Learn which transformation was applied, and from a frozen teacher's logits.",
        ),
        "response": Entry(
            "kdcompress.strategies.response:response",
            "Learn a frozen teacher's scores: the one thing that every teacher has.",
        ),
        "reconstruction": Entry(
            "kdcompress.strategies.reconstruction:reconstruction",
            "Learn a frozen teacher's reconstructions, of normals and of queries.",
        ),
        "latent": Entry(
            "kdcompress.strategies.latent:latent",
            "Learn a frozen teacher's latents, through a linear map where the sizes differ.",
        ),
        "hint": Entry(
            "kdcompress.strategies.hint:hint",
            "Learn a frozen teacher's inner features and latents, through linear maps where the sizes differ.",
        ),
        "adversarial": Entry(
            "kdcompress.strategies.adversarial:adversarial",
            "Copy a frozen teacher's latents or features until a judge cannot tell the two sides apart.",
        ),
        "maps": Entry(
            "kdcompress.strategies.maps:maps",
            "Learn a frozen teacher's anomaly maps.",
        ),
        "attention": Entry(
            "kdcompress.strategies.attention:attention",
            "Learn where in an image a frozen teacher's inner map is active.",
        ),
        "relational": Entry(
            "kdcompress.strategies.relational:relational",
            "Learn the distances and angles between samples, as a frozen teacher's latents or features have them.",
        ),
        "similarity": Entry(
            "kdcompress.strategies.similarity:similarity",
            "Learn which samples of a batch are alike, as a frozen teacher's latents or features have it.",
        ),
        "sequence": Entry(
            "kdcompress.strategies.sequence:sequence",
            "Strategies one after another, e.g. a hint and then the scores.",
        ),
        "fitted": Entry(
            "kdcompress.strategies.fitted:fitted",
            "Fit a detector that has nothing to train, such as a forest or a memory of normals.",
        ),
        "whitened": Entry(
            "kdcompress.strategies.whitened:whitened",
            "Learn from a frozen teacher whose score is calibrated first; the student's is calibrated in the end.",
        ),
    },
    dict.fromkeys(("prune", "pruned", "pruning", "slice", "sliced", "slicing"), _NARROWED),
)
