"""The only training loop: it runs any stages and knows no strategy and no architecture."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from kdcompress import queries
from kdcompress.engine.checkpoint import Slot, Snapshot
from kdcompress.engine.events import Diverged, EpochDone, Event, StageDone, Started
from kdcompress.engine.plan import Plan
from kdcompress.engine.stage_run import NotFinite, StageRun
from kdcompress.engine.store import Memory, Store
from kdcompress.errors import KdcompressError
from kdcompress.seeding import derive
from kdcompress.stage import SideName, Stage
from kdcompress.types import Pair

RETRIES = 3
"""How often a stage that diverges goes back to its last good state with half the learning rate."""

_CHUNK = 1024
_CHUNK_BYTES = 2**24
"""What is prepared at a time: so many samples, or fewer where they take more bytes as float32."""


def fit(
    stages: tuple[Stage, ...],
    student: Pair,
    teacher: Pair | None,
    raw: Tensor,
    *,
    device: torch.device,
    plan_for: Callable[[Stage], Plan],
    seed: int | Sequence[int],
    slot: Slot,
    memory: Memory | None = None,
) -> Generator[Event, None, None]:
    """Train through the stages, telling what happens; the pairs are trained in place.

    A checkpoint is written to ``slot`` after every epoch, and in the middle of one when the caller closes the
    generator. If there is one already, training goes on from there and ends with the same bits as if it had never
    stopped.

    Args:
        stages: what to train, in order.
        student: the pair that is trained.
        teacher: the pair that it learns from, if any.
        raw: the training normals as raw data [N, ...].
        device: where to compute.
        plan_for: how to compute a stage.
        seed: of batches and of whatever randomness a forward pass has; several for students that train as one
            (`fit_batched`), each with an order of its own.
        slot: where checkpoints go.
        memory: for inputs and cached outputs; files hold the rest, to the same bits. None: as much as they take.

    Raises:
        KdcompressError: where a loss is not finite, also after going back with smaller steps.
    """
    saved = slot.read()
    snapshot = Snapshot.from_bytes(saved) if saved is not None else None
    pairs: dict[SideName, Pair] = {"student": student} if teacher is None else {"student": student, "teacher": teacher}
    for name, pair in pairs.items():
        for part_name, part in pair.parts().items():
            part.to(device)
            if snapshot is not None:
                part.load_state_dict(snapshot.under(f"part/{name}.{part_name}/"))
    memory = memory or Memory()
    seeds = (seed,) if isinstance(seed, int) else tuple(seed)
    inputs = {name: _prepare(f"the {name}'s prepared input", pair, raw, device, memory) for name, pair in pairs.items()}
    for index, stage in enumerate(stages):
        if snapshot is not None and snapshot.stage > index:
            continue
        begun = snapshot is not None and snapshot.begun
        if "teacher" in stage.calibrated and not begun and teacher is not None:
            _calibrate(teacher, inputs["teacher"])
        of_stage = tuple(derive(one, "stage", index) for one in seeds)
        left = replace(memory)
        seen = _with_queries(stage, pairs, raw, device, left, of_stage) if stage.queries else inputs
        run = StageRun(index, stage, pairs, seen, plan_for(stage), of_stage, left, len(raw))
        if snapshot is not None and begun:
            run.restore(snapshot)
        snapshot = None
        yield Started(index, stage, run.plan, run.epoch)
        yield from _epochs(run, slot)
        run.finish()
        if "student" in stage.calibrated:
            _calibrate(student, inputs["student"])
        # What it cached goes before the next stage caches its own in the same memory.
        del run, seen
        yield StageDone(index, stage)


def _epochs(run: StageRun, slot: Slot) -> Iterator[Event]:
    """Train a stage's epochs; go back and halve the learning rate where one diverges; save when told to stop."""
    good = run.snapshot()
    while run.epoch < run.stage.epochs:
        try:
            row = yield from run.train_epoch()
        except GeneratorExit:
            slot.write(run.snapshot().to_bytes(), None)
            raise
        except NotFinite as error:
            retry = run.retries + 1
            if retry > RETRIES:
                raise KdcompressError(
                    f"training diverged: {error} in epoch {run.epoch + 1} of stage '{run.stage.name}', also with "
                    f"learning rates {2**RETRIES} times smaller; make the strategy's learning_rate or weights smaller"
                ) from error
            run.restore(good, retries=retry)
            yield Diverged(run.stage, run.epoch, str(error), retry)
            continue
        good = run.snapshot()
        slot.write(good.to_bytes(), row)
        yield EpochDone(run.stage, row)


def _calibrate(pair: Pair, x: Store) -> None:
    """Fit a detector's score to its training input."""
    pair.detector.eval()
    with torch.no_grad():
        pair.detector.calibrate(x.chunks(_CHUNK))


def _with_queries(
    stage: Stage,
    pairs: Mapping[SideName, Pair],
    raw: Tensor,
    device: torch.device,
    memory: Memory,
    seeds: Sequence[int],
) -> dict[SideName, Store]:
    """Return the normals and, after them, the stage's queries, as each side prepares them.

    There is at least one query for each batch.
    """
    count = max(round(stage.query_share * len(raw)), len(raw) // min(stage.batch_size, len(raw)))
    asked = queries.made(stage.queries, raw, count, derive(seeds[0], "queries"))
    return {
        name: _prepare(f"the {name}'s prepared normals and queries", pair, raw, device, memory, asked)
        for name, pair in pairs.items()
    }


def _prepare(
    what: str, pair: Pair, raw: Tensor, device: torch.device, memory: Memory, more: Tensor | None = None
) -> Store:
    """Return all of a detector's input, prepared once."""
    store = None
    parts = (raw,) if more is None else (raw, more)
    for chunk in (
        chunk for part in parts for chunk in part.split(min(_CHUNK, max(1, _CHUNK_BYTES // (4 * raw[0].numel()))))
    ):
        x = pair.detector.prepare(chunk.to(device))
        store = store or memory.store(what, sum(map(len, parts)), x[0])
        store.append(x)
    assert store is not None, "there are training samples"
    return store
