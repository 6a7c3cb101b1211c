import dataclasses
import errno
import json
import os
import pickle
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kdcompress import contents
from kdcompress.engine import plan as plans
from kdcompress.errors import InputError
from kdcompress.results import SCHEMA, UNCLEAR, Arm, DataSummary, Named, Result, StageScore, to_json
from kdcompress.rundir import RunDir, write_atomic
from tests.reporting.fake_runs import make_result, make_samples

ARM = Arm(
    0.9, (0.8, 0.95), 0.7, 0.2, 60, 1.5, 0.05, 0.6, 100, 2000, 400, {"batch_1": 0.1}, 4096, (StageScore("a", 0.1),)
)
RESULT = Result(
    "r", "0123", 3, DataSummary("digits", 8, 80, 27, 70, 649, (1, 8, 8)), Named("scratch"), Named("ede_gan"), ARM
)


@pytest.fixture
def run(tmp_path):
    return RunDir.open(tmp_path, "r", "0123")


def history_row(arm="a", stage="s", epoch=0, loss=0.5, **changes):
    given = {"arm": arm, "stage": stage, "epoch": epoch, "epochs": 3, "step": 40 * (epoch + 1), "retries": 0}
    given |= {"learning_rate": {"student.detector": 0.1}, "losses": {"student.reconstruction": loss}}
    return given | {"images_per_second": 160.0, "seconds": 0.25} | changes


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class Full:
    """A file on a full disk: so much is written, no more."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        self.file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failing(code):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.fixture(params=["replace", "fsync", "open", "write"])
def strike(request, monkeypatch):
    """Return a function that makes one part of every write fail, and returns what the system says of it."""

    def strike():
        if request.param == "write":
            real = Path.open
            monkeypatch.setattr(
                Path, "open", lambda path, mode="r": Full(real(path, mode)) if "w" in mode else real(path, mode)
            )
            return os.strerror(errno.ENOSPC)
        code = {"replace": errno.EIO, "fsync": errno.ENOSPC, "open": errno.EACCES}[request.param]
        monkeypatch.setattr(Path if request.param == "open" else os, request.param, failing(code))
        return os.strerror(code)

    return strike


class TestWriteAtomic:
    def test_it_writes_and_makes_folders(self, tmp_path):
        path = tmp_path / "a" / "b.json"
        for data in (b"one", b"", b"three" * 100_000):
            write_atomic(path, data)
            assert path.read_bytes() == data
        assert files(tmp_path) == ["a/b.json"]

    def test_a_failure_leaves_the_old_content_and_no_litter(self, tmp_path, strike, monkeypatch):
        path = tmp_path / "b.json"
        path.write_bytes(b"old")
        said = strike()
        with pytest.raises(InputError, match=f"b.json: cannot write: {said}") as caught:
            write_atomic(path, b"new content")
        monkeypatch.undo()
        assert caught.value.exit_code == 2
        assert path.read_bytes() == b"old"
        assert files(tmp_path) == ["b.json"]

    def test_an_interruption_leaves_the_old_content_and_no_litter(self, tmp_path, monkeypatch):
        def interrupt(_):
            raise KeyboardInterrupt

        path = tmp_path / "b.json"
        path.write_bytes(b"old")
        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_atomic(path, b"new")
        assert path.read_bytes() == b"old"
        assert files(tmp_path) == ["b.json"]

    def test_the_content_is_on_the_disk_before_it_has_its_name(self, tmp_path, monkeypatch):
        calls = []
        sync, replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(("sync", os.fstat(fd).st_size)), sync(fd)))
        monkeypatch.setattr(os, "replace", lambda a, b: (calls.append(("replace", b.name)), replace(a, b)))
        write_atomic(tmp_path / "b.json", b"12345")
        assert calls == [("sync", 5), ("replace", "b.json")]

    @pytest.mark.parametrize("path", ["way/b.json", "way/c/b.json"])
    def test_a_file_in_the_way_of_a_folder_is_named(self, tmp_path, path):
        (tmp_path / "way").write_text("")
        with pytest.raises(InputError, match="b.json: cannot write: (Not a directory|File exists)"):
            write_atomic(tmp_path / path, b"")
        assert files(tmp_path) == ["way"]

    def test_a_folder_in_the_way_of_a_file_is_named(self, tmp_path):
        (tmp_path / "b.json").mkdir()
        with pytest.raises(InputError, match="b.json: cannot write: Is a directory"):
            write_atomic(tmp_path / "b.json", b"")
        assert files(tmp_path) == []

    def test_others_may_read_it_as_any_other_file(self, tmp_path):
        (tmp_path / "plain").write_bytes(b"")
        write_atomic(tmp_path / "atomic", b"")
        modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")}
        assert len(modes) == 1


class TestOpen:
    def test_a_run_is_named_by_recipe_and_digest(self, tmp_path):
        assert RunDir.open(tmp_path / "runs", "r", "0123").path == tmp_path / "runs" / "r" / "0123"
        assert RunDir.open(tmp_path / "runs", "r", "0123").digest == "0123"

    def test_fresh_runs_stand_beside_and_the_newest_is_resumed(self, tmp_path):
        assert [
            RunDir.open(tmp_path, "r", "0123", fresh=fresh).digest for fresh in (True, False, True, False, True)
        ] == [
            *("0123", "0123", "0123-2", "0123-2", "0123-3"),
        ]
        for number in range(4, 12):
            assert RunDir.open(tmp_path, "r", "0123", fresh=True).digest == f"0123-{number}"
        assert RunDir.open(tmp_path, "r", "0123").digest == "0123-11"

    @pytest.mark.parametrize("name", ["0123-x", "01234", "0123-2-3", "x0123-5", "0123-"])
    def test_other_folders_do_not_count(self, tmp_path, name):
        (tmp_path / "r" / name).mkdir(parents=True)
        assert RunDir.open(tmp_path, "r", "0123").digest == "0123"
        assert RunDir.open(tmp_path, "r", "0123", fresh=True).digest == "0123-2"

    def test_a_fresh_run_deletes_nothing(self, run, tmp_path):
        run.write_recipe("a: 1")
        fresh = RunDir.open(tmp_path, "r", "0123", fresh=True)
        assert (run.recipe(), files(fresh.path)) == ("a: 1", [])

    @pytest.mark.parametrize("place", ["", "r", "r/0123"])
    def test_a_file_in_the_way_is_named(self, tmp_path, place):
        way = tmp_path / "runs" / place
        way.parent.mkdir(parents=True, exist_ok=True)
        way.write_text("mine")
        with pytest.raises(InputError, match=f"--out {tmp_path / 'runs'}: cannot make {way}") as caught:
            RunDir.open(tmp_path / "runs", "r", "0123")
        assert caught.value.exit_code == 2
        assert way.read_text() == "mine"

    @pytest.mark.parametrize("call", ["os.mkdir", "os.listdir"])
    def test_a_closed_folder_is_named(self, tmp_path, monkeypatch, call):
        (tmp_path / "r").mkdir()
        # Root may do everything, so the system is made to say no.
        monkeypatch.setattr(call, failing(errno.EACCES))
        with pytest.raises(InputError, match=f"--out {tmp_path}: cannot make .*: Permission denied"):
            RunDir.open(tmp_path, "r", "0123")

    def test_a_run_that_cannot_be_written_to_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setattr(os, "access", lambda *_: False)
        with pytest.raises(InputError, match=f"--out {tmp_path}: cannot write to .*0123: permission denied"):
            RunDir.open(tmp_path, "r", "0123")

    def test_an_existing_run_needs_a_result(self, run, tmp_path):
        with pytest.raises(InputError, match="0123: not a finished run: there is no result.json in it"):
            RunDir.existing(run.path)
        with pytest.raises(InputError, match="nowhere: not a finished run"):
            RunDir.existing(tmp_path / "nowhere")
        run.write_result(RESULT)
        assert RunDir.existing(run.path) == run


class TestHistory:
    def test_rows_come_back_in_order(self, run):
        assert run.history() == ()
        rows = [history_row(arm, "s", epoch, loss=0.1 + epoch) for arm in ("student", "control") for epoch in range(3)]
        for row in rows:
            run.add_history(row)
        assert list(run.history()) == rows

    def test_a_row_of_the_same_place_is_replaced(self, run):
        for row in (
            history_row("a", "s", 1),
            history_row("a", "s", 2, loss=1),
            history_row("b", "s", 2),
            history_row("a", "t", 2),
        ):
            run.add_history(row)
        run.add_history(history_row("a", "s", 2, loss=5))
        assert list(run.history()) == [
            *(
                history_row("a", "s", 1),
                history_row("b", "s", 2),
                history_row("a", "t", 2),
                history_row("a", "s", 2, loss=5),
            ),
        ]

    def test_many_rows_at_once_are_as_one_after_another(self, run, tmp_path):
        rows = [history_row("a", "s", epoch, loss=loss) for loss in (1, 2) for epoch in range(3)]
        other = RunDir.open(tmp_path, "r", "other")
        for half in (rows[:3], rows[3:]):
            run.add_history(*half)
            for row in half:
                other.add_history(row)
        assert run.history() == other.history() == tuple(rows[3:])

    def test_a_last_line_that_was_cut_off_is_left_out_and_written_anew(self, run):
        rows = [history_row("a", "é", epoch) for epoch in range(3)]
        for row in rows:
            run.add_history(row)
        path = run.path / "history.jsonl"
        whole = path.read_bytes()
        for cut in range(1, len(whole.splitlines(keepends=True)[-1])):
            path.write_bytes(whole[:-cut])
            kept = list(run.history())
            assert kept == (rows if cut == 1 else rows[:2])
        run.add_history(rows[2])
        assert path.read_bytes() == whole

    @pytest.mark.parametrize("key", history_row())
    def test_a_row_without_a_key_is_named_with_its_line(self, run, key):
        rows = [history_row(epoch=epoch) for epoch in range(3)]
        del rows[1][key]
        (run.path / "history.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        with pytest.raises(InputError, match=rf"history.jsonl: line 2 is not a row of a history: {key}: missing$"):
            run.history()

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"arm": 3}, "arm: .*string, not 3"),
            ({"stage": None}, "stage: .*string, not null"),
            ({"epoch": "1"}, "epoch: .*integer, not '1'"),
            ({"epoch": -1}, "epoch: .*greater than or equal to 0"),
            ({"epoch": True}, "epoch: .*integer, not true"),
            ({"epoch": 10**400}, "epoch: .*less than"),
            ({"epochs": 0}, "epochs: .*greater than or equal to 1"),
            ({"losses": [0.5]}, "losses: .*mapping of keys|losses: .*dictionary"),
            ({"losses": {"a": None}}, "losses.a: .*number, not null"),
            ({"losses": {"a": float("nan")}}, "losses.a: .*finite number, not nan"),
            ({"learning_rate": {"a": "x"}}, "learning_rate.a: .*number, not 'x'"),
            ({"seconds": -0.1}, "seconds: .*greater than or equal to 0"),
            ({"seconds": float("inf")}, "seconds: .*finite number, not inf"),
            ({"step": 1.5}, "step: .*integer, not 1.5"),
            ({"step": -1}, "step: .*greater than or equal to 0"),
            ({"images_per_second": "fast"}, "images_per_second: .*number, not 'fast'"),
            ({"images_per_second": -1.0}, "images_per_second: .*greater than or equal to 0"),
            ({"images_per_second": float("nan")}, "images_per_second: .*finite number, not nan"),
            ({"retries": None}, "retries: .*integer, not null"),
            ({"retries": -1}, "retries: .*greater than or equal to 0"),
            ({"retries": False}, "retries: .*integer, not false"),
        ],
    )
    def test_a_wrong_value_is_named_with_its_line_and_key(self, run, change, said):
        rows = [history_row(), history_row(epoch=1) | change]
        (run.path / "history.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        with pytest.raises(InputError, match=f"history.jsonl: line 2 is not a row of a history: ({said})") as caught:
            run.history()
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("line", ["{", "", "\xff", "[1]", "3", '{"arm"'])
    def test_any_other_damage_is_named_with_its_line(self, run, line):
        path = run.path / "history.jsonl"
        row = json.dumps(history_row()).encode()
        path.write_bytes(row + b"\n" + line.encode("latin-1") + b"\n" + row + b"\n")
        with pytest.raises(InputError, match=r"history.jsonl: line 2 is not (a )?JSON"):
            run.history()

    def test_a_failed_write_loses_no_row(self, run, strike, monkeypatch):
        run.add_history(history_row("a", "s", 0))
        strike()
        with pytest.raises(InputError, match="history.jsonl: cannot"):
            run.add_history(history_row("a", "s", 1))
        monkeypatch.undo()
        assert list(run.history()) == [history_row("a", "s", 0)]


class TestCheckpoint:
    def row(self, epoch, **changes):
        """What the engine gives: it does not know the arm."""
        return {key: value for key, value in history_row(epoch=epoch, **changes).items() if key != "arm"}

    def test_it_is_kept_until_it_is_cleared(self, run):
        slot = run.checkpoint("student")
        assert slot.read() is None
        slot.write(b"one", self.row(1))
        slot.write(b"two", self.row(2))
        assert slot.read() == b"two"
        assert [row["epoch"] for row in run.history()] == [1, 2]
        assert {row["arm"] for row in run.history()} == {"student"}
        assert run.checkpoint("control").read() is None
        slot.clear()
        slot.clear()
        assert slot.read() is None
        assert len(run.history()) == 2

    def test_a_row_without_its_checkpoint_is_written_anew(self, run, monkeypatch):
        slot = run.checkpoint("student")
        slot.write(b"one", self.row(1))
        real = os.replace
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", lambda a, b: failing(errno.EIO)() if "student" in b.name else real(a, b))
            with pytest.raises(InputError, match="cannot write"):
                slot.write(b"two", self.row(2, loss=1))
        assert slot.read() == b"one"
        slot.write(b"two", self.row(2, loss=2))
        assert [row["losses"]["student.reconstruction"] for row in run.history()] == [0.5, 2]


class TestScores:
    def test_they_come_back_to_the_bit(self, run):
        scores = {
            "labels": np.array([0, 1, 1]),
            "student": np.array([1e-300, -0.0, np.nextafter(1, 2)]),
            "teacher": np.float32([0.1, 3e38, 1e-45]),
            "validation_student": np.zeros((0,)),
        }
        run.write_scores(scores)
        found = run.scores()
        assert found.keys() == scores.keys()
        for name, values in scores.items():
            assert found[name].dtype == values.dtype
            assert found[name].tobytes() == values.tobytes()

    def test_objects_are_not_pickled(self, run):
        with pytest.raises(TypeError, match="student: scores are numbers"):
            run.write_scores({"student": np.array([print], dtype=object)})
        assert files(run.path) == []

    def test_no_pickle_is_read(self, run, tmp_path):
        (tmp_path / "mark").mkdir()
        bomb = np.array([Bomb(tmp_path / "mark")], dtype=object)
        np.savez(run.path / "scores.npz", student=bomb)
        with pytest.raises(InputError, match="scores.npz: damaged, or not scores"):
            run.scores()
        assert (tmp_path / "mark").exists()
        np.load(run.path / "scores.npz", allow_pickle=True)["student"]
        assert not (tmp_path / "mark").exists(), "the bomb is a dud"

    @pytest.mark.parametrize("damage", [lambda _: b"", lambda data: data[:-40], lambda _: b"text", pickle.dumps])
    def test_damage_is_named(self, run, damage):
        run.write_scores({"student": np.arange(50.0)})
        path = run.path / "scores.npz"
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(InputError, match="scores.npz: damaged, or not scores"):
            run.scores()

    def test_a_flipped_byte_is_found(self, run):
        run.write_scores({"student": np.random.default_rng(0).random(500)})
        path = run.path / "scores.npz"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
        with pytest.raises(InputError, match="scores.npz: damaged, or not scores"):
            run.scores()

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"labels": None}, "labels: missing"),
            ({"labels": np.array([0, 1, 2])}, "labels: not all values are 0 or 1"),
            ({"labels": np.array([0, 1, np.nan])}, "labels: not all values are finite"),
            ({"labels": np.zeros((3, 1))}, r"labels: should be numbers \[N\], not float64 \[3, 1\]"),
            ({"student": np.array(1.0)}, r"student: should be numbers \[N\], not float64 \[\]"),
            ({"student": np.array(["a", "b", "c"])}, r"student: should be numbers \[N\], not <U1 \[3\]"),
            ({"student": np.ones(3, complex)}, "student: should be numbers .*complex128"),
            ({"student": np.array([0, np.inf, 1])}, "student: not all values are finite"),
            ({"student": np.ones(2)}, "student: has 2 samples, labels has 3"),
            ({"validation_teacher": np.ones(3)}, "validation_teacher: has 3 samples, validation_student has 2"),
        ],
    )
    def test_arrays_of_another_kind_are_named(self, run, change, said):
        whole = {"labels": np.array([0, 1, 1]), "student": np.ones(3), "validation_student": np.ones(2)}
        run.write_scores({name: values for name, values in {**whole, **change}.items() if values is not None})
        with pytest.raises(InputError, match=f"scores.npz: {said}"):
            run.scores()

    @pytest.mark.parametrize("damage", ["no array", "encrypted"])
    def test_a_damaged_member_is_named(self, run, damage):
        path = run.path / "scores.npz"
        run.write_scores({"labels": np.array([0, 1]), "student": np.ones(2)})
        if damage == "no array":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("labels", b"text")
        else:
            # The flag of the archive's directory that says so.
            data = bytearray(path.read_bytes())
            data[data.index(b"PK\x01\x02") + 8] |= 1
            path.write_bytes(data)
        said = "labels: should be numbers" if damage == "no array" else "damaged, or not scores: .*encrypted"
        with pytest.raises(InputError, match=f"scores.npz: {said}"):
            run.scores()

    def test_missing_scores_are_named(self, run):
        with pytest.raises(InputError, match="scores.npz: cannot read: No such file"):
            run.scores()


class TestSamples:
    def test_they_come_back(self, run):
        samples = {"group": np.array(["missed", "typical"]), "index": np.array([7, 2]), "label": np.uint8([1, 0])}
        samples["input"] = np.arange(24, dtype=np.uint8).reshape(2, 1, 3, 4)
        run.write_samples(samples)
        found = run.samples()
        assert {name: values.tolist() for name, values in found.items()} == {n: v.tolist() for n, v in samples.items()}
        assert {name: values.dtype for name, values in found.items()} == {n: v.dtype for n, v in samples.items()}

    def test_a_run_may_have_none(self, run):
        assert run.samples() == {}

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            *(({name: None}, f"{name}: missing") for name in ("group", "index", "label", "input")),
            ({"group": np.zeros(24)}, r"group: should be text \[N\], not float64 \[24\]"),
            ({"index": np.zeros(24)}, r"index: should be integers \[N\]"),
            ({"label": np.full(24, 2)}, "label: not all values are 0 or 1"),
            ({"label": np.zeros(3, np.uint8)}, "label: has 3 samples, group has 24"),
            ({"percentile_student": np.full(24, np.nan)}, "percentile_student: not all values are finite"),
            ({"input": np.zeros((24, 1, 9, 7))}, r"input: should be uint8 \[N, C, H, W\] .*, not float64"),
            ({"input": np.zeros((24, 2, 9, 7), np.uint8)}, "input: should be uint8 .* of 1 or 3 channels"),
            ({"reconstruction_student": np.zeros((24, 9, 7), np.uint8)}, "reconstruction_student: should be uint8"),
            ({"reconstruction_student": np.zeros((24, 1, 2, 2), np.uint8)}, "reconstruction_student: of shape .* is"),
        ],
    )
    def test_arrays_of_another_kind_are_named(self, run, change, said):
        changed = {**make_samples(), **change}
        run.write_samples({name: values for name, values in changed.items() if values is not None})
        with pytest.raises(InputError, match=f"samples.npz: {said}"):
            run.samples()

    def test_damage_and_objects_are_named(self, run):
        with pytest.raises(TypeError, match="input: samples are numbers"):
            run.write_samples({"input": np.array([print], dtype=object)})
        (run.path / "samples.npz").write_bytes(b"text")
        with pytest.raises(InputError, match="samples.npz: damaged, or not samples"):
            run.samples()


class Bomb:
    """Removes a folder when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.rmdir, (str(self.mark),)


class TestResult:
    def test_it_comes_back_equal_and_ends_the_run(self, run):
        assert run.result() is None
        run.write_result(RESULT)
        assert run.result() == RESULT

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "not JSON"),
            ('{"schema": 1,', "not JSON"),
            ("\xff", "not a text file"),
            ("[" * 100_000, "not JSON"),
            ("[]", "expected a JSON object"),
            ("{}", "not a result of this version: recipe: missing; digest: missing"),
            ('{"recipe": 3}', "recipe: input should be a valid string, not 3"),
        ],
    )
    def test_damage_is_named_with_its_file(self, run, text, said):
        path = run.path / "result.json"
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(InputError, match=said) as caught:
            run.result()
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("place", "value", "said"),
        [
            ("schema", SCHEMA + 1, "schema 2, known here: 1"),
            ("verdict", UNCLEAR, f"verdict '{UNCLEAR}' does not follow"),
            ("kd_gain_ci95", [0.1], "kd_gain_ci95.1: missing"),
            ("kd_gain_ci95", [float("nan"), 1], "kd_gain_ci95.0: .*finite number, not nan"),
            ("student.auroc", float("inf"), "student.auroc: .*finite number, not inf"),
            ("student.auroc", "nan", "student.auroc: .*finite number, not nan"),
            ("student.auroc", 1e308, "student: an AUROC and its interval should be between 0 and 1"),
            ("student.auroc_ci95", [-1e308, 1], "student: an AUROC and its interval should be between 0 and 1"),
            ("student.macs", 10**400, "student.macs: .*smaller integer"),
            ("strategy.options.epochs", 10**400, "strategy.options.epochs: .*smaller integer"),
            ("counters.thop", 3, "counters.thop: "),
            ("counters.thop", {}, "counters.thop.macs: missing"),
            ("counters.thop.macs", "3", "counters.thop.macs: .*integer, not '3'"),
            ("counters.thop.operators", [], "counters.thop.operators: "),
            ("counters.thop.operators.conv", None, "counters.thop.operators.conv: .*integer, not null"),
            ("teacher_counters.torch.other_ops", "x", "teacher_counters.torch.other_ops: .*integer, not 'x'"),
            ("counters.uncounted", 3, "counters.uncounted: "),
            ("teacher_counters.uncounted.tanh", "x", "teacher_counters.uncounted.tanh: .*integer, not 'x'"),
        ],
    )
    def test_a_wrong_value_is_named_with_its_place(self, run, place, value, said):
        plain = to_json(make_result())
        *above, key = place.split(".")
        inner = plain
        for one in above:
            inner = inner[one]
        inner[key] = value
        path = run.path / "result.json"
        path.write_text(json.dumps(plain))
        with pytest.raises(InputError, match=f"result.json: not a result of this version: {said}") as caught:
            run.result()
        assert "\n" not in str(caught.value)

    def test_half_a_surrogate_pair_is_refused(self, run):
        (run.path / "result.json").write_text('{"recipe": "\\ud800"}')
        with pytest.raises(InputError, match=r"result.json: not JSON: .*surrogates not allowed"):
            run.result()

    def test_a_result_that_is_no_json_is_not_written(self, run):
        wrong = Result(**{**vars(RESULT), "kd_gain": float("nan")})
        with pytest.raises(ValueError, match="not JSON compliant"):
            run.write_result(wrong)
        assert files(run.path) == []


ENVIRONMENT = {
    "libraries": {"torch": "2.6.0"},
    "threads": 1,
    "device": "cpu",
    "plans": {"stage 1": plans.as_json(plans.Plan("bf16", measured_ms=(("fp32 contiguous", 2.0),)))},
}


def test_the_environment_comes_back(run):
    assert run.environment() == {}
    run.write_environment(ENVIRONMENT)
    assert run.environment() == ENVIRONMENT


def test_the_plans_of_an_environment_are_the_engines():
    assert contents._Plan.model_fields.keys() == {field.name for field in dataclasses.fields(plans.Plan)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *(({name: None}, f"{name}: ") for name in ("threads", "device", "plans")),
        *(({"threads": value}, f"threads: .*, not {shown}") for value, shown in ((True, "true"), (0, 0), (1025, 1025))),
        ({"threads": "x"}, "threads: .*integer, not 'x'"),
        ({"device": "tpu"}, "device: .*'cpu' or 'cuda', not 'tpu'"),
        ({"plans": []}, "plans: "),
        ({"plans": {"stage 1": 3}}, "plans.stage 1: "),
        ({"plans": {"stage 1": {}}}, "plans.stage 1.measured_ms: missing"),
        ({"plans": {"stage 1": {"measured_ms": {}, "speed": 1}}}, "plans.stage 1.speed: unknown key"),
        ({"plans": {"stage 1": {"measured_ms": {}, "precision": "fp8"}}}, "plans.stage 1.precision: .*not 'fp8'"),
        ({"plans": {"stage 1": {"measured_ms": {}, "folded": "no"}}}, "plans.stage 1.folded: .*not 'no'"),
        ({"plans": {"stage 1": {"measured_ms": {"a": None}}}}, "plans.stage 1.measured_ms.a: .*number, not null"),
    ],
)
def test_a_damaged_environment_is_named_with_its_place(run, change, said):
    run.write_environment({**ENVIRONMENT, **change})
    with pytest.raises(
        InputError, match=rf"its environment\.json is damaged; distill --fresh starts over beside it: {said}"
    ):
        run.environment()


def test_a_recipe_that_is_missing_or_damaged_is_named(run):
    with pytest.raises(InputError, match="recipe.yaml: cannot read: No such file"):
        run.recipe()
    (run.path / "recipe.yaml").write_bytes(b"\xff")
    with pytest.raises(InputError, match="recipe.yaml: damaged"):
        run.recipe()


def test_a_run_is_reported_when_both_forms_are_there(run):
    assert not run.reported()
    run.write_report("é", "<p>")
    assert run.reported()
    (run.path / "report.md").unlink()
    assert not run.reported()


def test_the_contracts_file_names(run):
    run.write_recipe("a: 1")
    run.write_environment({})
    run.add_history(history_row())
    run.write_scores({"labels": np.zeros(1)})
    run.write_result(RESULT)
    run.write_report("", "")
    assert {*files(run.path), *(run.bundle(name).name for name in ("teacher", "student", "control"))} == {
        *("recipe.yaml", "environment.json", "history.jsonl", "scores.npz", "result.json", "report.md", "report.html"),
        *("teacher.safetensors", "student.safetensors", "control.safetensors"),
    }
