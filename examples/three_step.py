"""A strategy of your own: the student alone, then after its teacher, then both at once.

kdcompress distill digits --set 'strategy={name: three_step}' --plugin examples/three_step.py
"""

from typing import Annotated

from pydantic import Field

import kdcompress as kd


@kd.STRATEGIES.register("three_step")
def three_step(
    student: kd.Interface,
    teacher: kd.Interface | None,
    *,
    epochs: Annotated[int, Field(ge=1)] = 20,
    batch_size: Annotated[int, Field(ge=1)] = 32,
    loss: str = "distil_reconstruction",
) -> tuple[kd.Stage, ...]:
    """Learn alone, then from the frozen teacher, then both at once.

    Args:
        student: the detector to train.
        teacher: the frozen detector to learn from; without one, the student learns alone in all three steps.
        epochs: passes over the training normals in each step.
        batch_size: samples of one step of the optimiser.
        loss: what is compared with the teacher.
    """
    own = kd.Term("reconstruction", kd.LOSSES["reconstruction"])
    copied = kd.Term(loss, kd.LOSSES[loss]) if teacher is not None else own
    steps = {"alone": (own,), "after the teacher": (copied,), "both": (own, copied)}
    return tuple(
        kd.Stage(name, epochs, batch_size, (update(*terms),), kd.SCHEDULES["cosine"]) for name, terms in steps.items()
    )


def update(*terms: kd.Term) -> kd.Update:
    """Return one step of the student's optimiser."""
    return kd.Update(("student.detector",), tuple(dict.fromkeys(terms)), kd.Adam(learning_rate=2e-3))
