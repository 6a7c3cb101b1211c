"""A recipe that runs in a second."""

import copy

from kdcompress import recipe as recipes

TINY = {
    "name": "tiny",
    "data": {"name": "synthetic", "train": 80, "test": 60, "height": 8, "width": 8},
    "teacher": {
        "architecture": {"name": "ede_gan", "base": 6, "latent": 6},
        "strategy": {"name": "scratch", "epochs": 2, "batch_size": 16},
    },
    "student": {"name": "ede_gan", "width": 0.5},
    "strategy": {
        "name": "progressive",
        "batch_size": 16,
        "steps": [{"teacher": "frozen", "epochs": 2}, {"teacher": "joint", "gan": True, "epochs": 2}],
    },
    "engine": {"precision": "fp32", "channels_last": False, "folded": False, "threads": 1},
}


def tiny(**sections):
    """Return the recipe with other sections."""
    return recipes.parse({**copy.deepcopy(TINY), **sections})
