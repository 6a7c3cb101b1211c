"""A loss of your own: the two detectors' reconstructions compared by Huber's loss instead of L1.

kdcompress show loss distil_huber --plugin examples/distil_huber.py
"""

from torch import Tensor
from torch.nn.functional import huber_loss

import kdcompress as kd


@kd.LOSSES.register("distil_huber")
@kd.loss(shared=("reconstruction",))
def distil_huber(own: kd.Side, other: kd.Side) -> Tensor:
    """Huber's loss (1964) between the two detectors' reconstructions."""
    return huber_loss(own.aligned["reconstruction"], other.aligned["reconstruction"])
