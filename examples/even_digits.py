"""A data set of your own, from arrays: even handwritten digits are normal, odd ones are anomalies.

kdcompress show data even_digits --plugin examples/even_digits.py
"""

from typing import Annotated

import torch
from pydantic import Field
from sklearn.datasets import load_digits

import kdcompress as kd


@kd.DATASETS.register("even_digits")
def even_digits(*, validation: Annotated[float, Field(gt=0, lt=1)] = 0.2) -> kd.OneClassData:
    """8x8 handwritten digits: even ones against odd ones.

    Args:
        validation: share of the training normals that is held out.
    """
    values, classes = load_digits(return_X_y=True)
    images = torch.from_numpy(values * 255 / 16).round().to(torch.uint8).reshape(-1, 1, 8, 8)
    odd = torch.from_numpy(classes % 2)
    normals = images[:1000][odd[:1000] == 0]
    held = round(len(normals) * validation)
    return kd.OneClassData("even_digits", None, normals[held:], normals[:held], images[1000:], odd[1000:])
