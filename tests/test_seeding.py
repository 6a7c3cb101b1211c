import itertools
import subprocess
import sys

import pytest

from kdcompress.seeding import derive

PURPOSES = [(), ("a",), ("b",), ("a", "b"), ("b", "a"), ("a", 1), ("a", 2), ("a", 1, 2), ("stage", 0, "epoch", 11)]


def test_one_purpose_gives_one_stream_in_every_process():
    code = "from kdcompress.seeding import derive; print(derive(3, 'student', 1))"
    fresh = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": hashing},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hashing in ("0", "1")
    }
    assert fresh == {str(derive(3, "student", 1))}


def test_other_seeds_and_purposes_give_other_streams():
    found = [derive(seed, *purpose) for seed, purpose in itertools.product(range(20), PURPOSES)]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_a_seed_fits_every_generator(seed):
    assert all(0 <= derive(seed, index) < 2**63 for index in range(200))


def test_bits_are_spread_evenly():
    ones = sum(derive(0, index).bit_count() for index in range(1000))
    # 63 000 fair coins: mean 31 500, standard deviation 125; six of them on each side.
    assert abs(ones - 31_500) < 6 * 126
