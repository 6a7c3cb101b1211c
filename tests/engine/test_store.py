import gc
import os
import sys
import threading
import weakref
from pathlib import Path

import pytest
import torch

from kdcompress.architectures.blocks import prepared
from kdcompress.engine.batched import fit_batched
from kdcompress.engine.events import Progress
from kdcompress.engine.fit import fit
from kdcompress.engine.plan import Plan
from kdcompress.engine.store import Memory, ahead
from kdcompress.errors import InputError
from tests.engine import nets
from tests.engine.nets import pair, run, same, samples, stage, term, update, weights


def both(rows):
    """Return the same rows in memory and in a file."""
    told = []
    memory, file = Memory(), Memory(0, tell=told.append)
    stores = [one.store("rows", len(rows), rows[0]) for one in (memory, file)]
    for store in stores:
        for chunk in rows.split(7):
            store.append(chunk)
    assert [store.in_file for store in stores] == [False, True]
    assert [(one.what, one.bytes, one.left) for one in told] == [("rows", rows.numel() * rows.element_size(), 0)]
    return stores


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("shape", [(), (3,), (2, 4, 5)])
def test_rows_of_a_file_are_those_in_memory(dtype, shape):
    rows = (100 * torch.rand(23, *shape)).to(dtype)
    index = torch.tensor([22, 0, 5, 5, 17, 1])
    for store in both(rows):
        assert len(store) == 23
        assert torch.equal(store.rows(index), rows[index])
        assert torch.equal(torch.cat(list(store.chunks(10))), rows)


@pytest.mark.parametrize("shape", [(3,), (3, 2, 4)])
def test_columns_are_read_each_in_its_order(shape):
    rows = torch.rand(23, *shape)
    index = torch.tensor([[22, 0, 5], [5, 17, 1]])
    expected = torch.stack([rows[index[:, column], column] for column in range(3)], 1)
    for store in both(rows):
        assert torch.equal(store.rows(index), expected)


def test_memory_is_taken_while_it_lasts():
    row = torch.zeros(1024)
    memory = Memory(10 * 4096)
    stores = [memory.store(name, count, row) for name, count in (("a", 6), ("b", 5), ("c", 4))]
    assert [store.in_file for store in stores] == [False, True, False]
    assert memory.left == 0


def test_a_full_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 99})())
    told = []
    match = rf"memory_bytes: rows take 4,000 bytes, more than the 5 .* {tmp_path} cannot take them \(99 bytes free\)"
    with pytest.raises(InputError, match=match):
        Memory(5, tmp_path, told.append).store("rows", 10, torch.zeros(100))
    assert not told


def test_a_folder_that_is_gone_is_said(tmp_path):
    with pytest.raises(InputError, match=r"gone cannot take them \(No such file or directory\)"):
        Memory(5, tmp_path / "gone").store("rows", 10, torch.zeros(100))


def test_the_room_of_a_file_is_taken_at_once(tmp_path):
    """The next store is made before this one is written: both have to see what the disk has left."""
    store = Memory(0, tmp_path).store("rows", 1000, torch.zeros(100))
    assert os.fstat(store._file.fileno()).st_blocks * 512 >= 400_000


def test_a_file_that_is_read_in_pieces_gives_whole_rows(monkeypatch):
    rows = torch.rand(23, 5)
    _, store = both(rows)
    whole = os.preadv
    monkeypatch.setattr("os.preadv", lambda file, into, start: whole(file, [into[0][:3]], start))
    assert torch.equal(store.rows(torch.tensor([22, 4, 4])), rows[[22, 4, 4]])


def test_files_have_no_name_and_go_with_their_store(tmp_path):
    store = Memory(0, tmp_path).store("rows", 4, torch.zeros(3))
    store.append(torch.ones(4, 3))
    assert list(tmp_path.iterdir()) == []
    file = weakref.ref(store._file)
    del store
    assert file() is None


def test_the_next_batch_is_fetched_while_this_one_is_used():
    fetched, used = [], threading.Event()

    def fetch(rows):
        fetched.append((int(rows), threading.current_thread().name))
        if int(rows) == 1:
            used.set()
        return int(rows)

    batches = list(torch.arange(4).reshape(4, 1))
    coming = ahead(fetch, batches, threaded=True)
    assert next(coming) == 0
    assert used.wait(10), "the second batch was not fetched before it was asked for"
    assert list(coming) == [1, 2, 3]
    assert [one for one, _ in fetched] == [0, 1, 2, 3]
    assert {name.startswith("kdcompress-fetch") for _, name in fetched} == {True}
    fetched.clear()
    assert list(ahead(fetch, batches, threaded=False)) == [0, 1, 2, 3]
    assert {name for _, name in fetched} == {threading.current_thread().name}


def test_what_goes_wrong_in_the_thread_is_raised_and_the_thread_ends():
    def fetch(rows):
        if int(rows) == 2:
            raise OSError("the disk is gone")
        return int(rows)

    batches = list(torch.arange(4).reshape(4, 1))
    with pytest.raises(OSError, match="the disk is gone"):
        list(ahead(fetch, batches, threaded=True))
    stopped = ahead(fetch, batches, threaded=True)
    next(stopped)
    stopped.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("kdcompress-fetch")]


DISTIL = [term(name) for name in ("distil_latent", "distil_reconstruction")]
OWN = update("student.detector", *DISTIL, term("reconstruction"))
TEACHER = update(
    "teacher.detector", term("reconstruction", on="teacher"), *[term(one.name, on="teacher") for one in DISTIL]
)
JUDGED = update("teacher.critic", term("critic", on="teacher"))


def losses(rows):
    return [row["losses"] for row in rows]


@pytest.mark.parametrize("updates", [(OWN,), (OWN, TEACHER), (OWN, JUDGED)], ids=["frozen", "joint", "critic"])
@pytest.mark.parametrize("left", [0, 40 * 6 * 4], ids=["all in files", "one store in memory"])
def test_training_from_files_gives_the_same_bits(updates, left, tmp_path):
    told = []
    in_memory, from_files = ([pair(1, norm=True), pair(2, norm=True)] for _ in range(2))
    stages = (stage(*updates), stage(OWN))
    wanted = run(stages, *in_memory)
    found = run(stages, *from_files, memory=Memory(left, tmp_path, told.append))
    assert told
    assert losses(found) == losses(wanted)
    for one, other in zip(in_memory, from_files, strict=True):
        for name, part in one.parts().items():
            assert same(weights(part), weights(other.parts()[name])), name


def test_each_stage_has_the_memory_that_its_inputs_left(tmp_path):
    told = []
    # The inputs of both sides, and a bit less than all of the latents and the reconstructions.
    memory = Memory(2 * 40 * 6 * 4 + 40 * 6 * 4, tmp_path, told.append)
    run((stage(OWN), stage(OWN)), pair(1), pair(2), memory=memory)
    assert [one.what for one in told] == ["the teacher's outputs 'reconstruction'"] * 2


def test_a_run_that_stopped_goes_on_from_files_to_the_same_bits(tmp_path):
    straight, stopped = pair(1), pair(1)
    run((stage(OWN, epochs=3),), straight, pair(2))
    slot = nets.Memory(stop_after=2)
    with pytest.raises(InterruptedError, match="on purpose"):
        run((stage(OWN, epochs=3),), stopped, pair(2), slot=slot, memory=Memory(0, tmp_path))
    slot.stop_after = None
    again = pair(1)
    run((stage(OWN, epochs=3),), again, pair(2), slot=slot, memory=Memory(0, tmp_path))
    assert same(weights(again.detector), weights(straight.detector))


def test_students_that_train_as_one_read_from_files_to_the_same_bits(tmp_path):
    told, trained = [], []
    how = {"device": torch.device("cpu"), "plan_for": lambda *_: Plan(), "seed": 0}
    for memory in (None, Memory(0, tmp_path, told.append)):
        students = [pair(1), pair(3)]
        stages = (stage(OWN),)
        list(fit_batched(stages, students, pair(2), samples(), slot=nets.Memory(), memory=memory, **how))
        trained.append([weights(one.detector) for one in students])
    assert len(told) > 2
    assert [same(one, other) for one, other in zip(*trained, strict=True)] == [True, True]
    assert not same(*trained[0])


def fetching():
    """The threads that read ahead."""
    return [one for one in threading.enumerate() if one.name.startswith("kdcompress-fetch")]


def opened():
    """The files that this process has open."""
    gc.collect()
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="open files are listed as Linux does")
@pytest.mark.parametrize("steps", [1, 7, 13])
def test_a_run_that_is_closed_in_the_middle_leaves_nothing_and_goes_on_to_the_same_bits(steps, tmp_path, monkeypatch):
    monkeypatch.setattr("kdcompress.engine.stage_run._TICK_SECONDS", -1.0)
    stages = (stage(OWN, JUDGED), stage(OWN, TEACHER))
    straight = [pair(1, norm=True), pair(2, norm=True)]
    wanted = run(stages, *straight)
    before = opened()
    slot = nets.Memory()
    how = {"device": torch.device("cpu"), "plan_for": lambda _: Plan(), "seed": 0, "slot": slot}
    events = fit(stages, pair(1, norm=True), pair(2, norm=True), samples(), **how, memory=Memory(0, tmp_path))
    for _ in range(steps):
        while not isinstance(next(events), Progress):
            pass
    assert fetching()
    assert opened() != before
    events.close()
    assert not fetching()
    del events
    assert opened() == before
    again = [pair(98, norm=True), pair(99, norm=True)]  # other first weights: all must come from the slot
    run(stages, *again, slot=slot, memory=Memory(0, tmp_path))
    assert losses(slot.rows) == losses(wanted)
    for one, other in zip(straight, again, strict=True):
        for name, part in one.parts().items():
            assert same(weights(part), weights(other.parts()[name])), name


def test_what_a_stage_cached_goes_before_the_next_stage_caches():
    """Else two stages would take the memory given twice."""
    alive = []

    class Watched(Memory):
        def store(self, what, count, row):
            if what == "the teacher's outputs 'latent'":  # a stage's first
                assert [one() for one in alive] == [None] * len(alive)
            made = super().store(what, count, row)
            alive.extend([weakref.ref(made)] if "outputs" in what else [])
            return made

    run((stage(OWN),) * 3, pair(1), pair(2), memory=Watched(10**6))
    assert len(alive) == 6


@pytest.mark.parametrize(("limit", "value", "chunks"), [("_CHUNK", 16, [16, 16, 8]), ("_CHUNK_BYTES", 500, [20, 20])])
def test_raw_data_are_read_a_chunk_at_a_time(limit, value, chunks, tmp_path, monkeypatch):
    """Six numbers a sample: twenty samples are 480 bytes."""
    seen = []
    student = pair(1, critic=False)
    monkeypatch.setattr(f"kdcompress.engine.fit.{limit}", value)
    monkeypatch.setattr(type(student.detector), "prepare", lambda self, raw: seen.append(len(raw)) or raw.float())
    only = stage(update("student.detector", term("reconstruction")))
    run((only,), student, raw=samples(40), memory=Memory(0, tmp_path))
    assert seen == chunks


@pytest.mark.parametrize("size", [(3, 40, 24), (1, 30, 50)])
def test_images_are_prepared_to_the_same_bits_however_many_at_a_time(size):
    images = torch.randint(0, 256, (23, *size), dtype=torch.uint8)
    for wanted in (size[1:], (16, 16)):
        whole = prepared(images, wanted)
        assert torch.equal(torch.cat([prepared(chunk, wanted) for chunk in images.split(5)]), whole)
        assert torch.equal(torch.cat([prepared(chunk, wanted) for chunk in images.split(1)]), whole)


def test_samples_larger_than_a_chunk_are_prepared_one_by_one(monkeypatch):
    monkeypatch.setattr("kdcompress.engine.fit._CHUNK_BYTES", 1)
    one, other = pair(1), pair(1)
    run((stage(OWN),), one, pair(2))
    monkeypatch.undo()
    run((stage(OWN),), other, pair(2))
    assert same(weights(one.detector), weights(other.detector))
