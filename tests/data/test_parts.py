import numpy as np
import pytest

from kdcompress.data.parts import by_names, by_share
from kdcompress.errors import DataError

LABELS = np.array([0, 0, 1] * 20)
ALL = np.ones(60, bool)


def shared(labels=LABELS, usable=ALL, **options):
    return by_share("it", "here", labels, usable, **{"test": 0.25, "validation": 0.2, **options})


def named(split, labels=LABELS, usable=ALL, **options):
    return by_names("it", "here", labels, usable, split, **{"validation": 0.2, **options})


@pytest.mark.parametrize("usable", [ALL, np.arange(60) % 5 > 0])
def test_no_anomaly_is_learned_from_and_no_sample_is_in_two_parts(usable):
    split = ["train"] * 40 + ["test"] * 20
    for parts in (shared(usable=usable), named(split, usable=usable)):
        assert not LABELS[[*parts.train, *parts.validation]].any()
        everything = [*parts.train, *parts.validation, *parts.test]
        assert len(everything) == len(set(everything))
        assert usable[everything].all()
        assert all(part == sorted(part) for part in (parts.train, parts.validation, parts.test))


def test_shares_are_of_the_normals_and_all_anomalies_are_tested():
    parts = shared()
    assert (len(parts.train), len(parts.validation)) == (24, 6)
    assert LABELS[parts.test].tolist().count(0) == 10
    assert set(np.flatnonzero(LABELS)) <= set(parts.test)


def test_names_are_kept_to_and_anomalies_for_training_are_counted():
    parts = named(["train"] * 30 + ["validation"] * 15 + ["test"] * 15)
    assert parts.validation == [index for index in range(30, 45) if not LABELS[index]]
    assert parts.test == list(range(45, 60))
    assert parts.left_out == 15


def test_without_a_named_validation_a_share_of_the_training_is_held_out():
    parts = named(["train"] * 30 + ["test"] * 30)
    assert (len(parts.train), len(parts.validation)) == (16, 4)
    assert max(*parts.train, *parts.validation) < 30


@pytest.mark.parametrize(
    ("split", "match"),
    [
        (
            ["train"] * 59 + ["tets"],
            r"here: row 60: 'tets'; did you mean 'test'\? \(allowed: train, validation, test\)",
        ),
        (["train"] * 60, r"no sample is for test \(there: train 60\)"),
        (["test"] * 60, "no normal sample is for train"),
    ],
)
def test_a_split_that_is_none_is_refused(split, match):
    with pytest.raises(DataError, match=match):
        named(split)


def test_shares_of_too_little_are_refused():
    with pytest.raises(DataError, match="here: 0 normal rows, at least 2 are needed"):
        shared(labels=np.ones(60, int))
    with pytest.raises(DataError, match=r"nothing is left to test \(data.test = 0"):
        shared(labels=np.zeros(60, int), test=0)
