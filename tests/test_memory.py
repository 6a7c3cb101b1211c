import subprocess
import sys

import pytest

from kdcompress import memory


def files(tmp_path, monkeypatch, **texts):
    paths = {}
    for name, text in texts.items():
        paths[name] = tmp_path / name
        paths[name].write_text(text)
    monkeypatch.setattr(memory, "_CGROUPS", ((paths["limit"], paths["usage"]),))


def test_a_container_may_take_what_is_left_of_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_machine", lambda: 10_000)
    files(tmp_path, monkeypatch, limit="5000\n", usage="1200\n")
    assert memory.available_bytes() == 3_800


@pytest.mark.parametrize("limit", ["max\n", str(2**63)])
def test_without_a_limit_the_machine_decides(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(memory, "_machine", lambda: 10_000)
    files(tmp_path, monkeypatch, limit=limit, usage="1200\n")
    assert memory.available_bytes() == 10_000


def test_where_the_system_says_nothing_there_is_a_guess(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_machine", lambda: None)
    monkeypatch.setattr(memory, "_CGROUPS", ((tmp_path / "none", tmp_path / "none"),))
    assert memory.available_bytes() == 4 * 2**30


def test_this_machine_says_something():
    assert 2**20 < memory.available_bytes() < 2**50


TRAIN = """
import sys, torch
from kdcompress.data.synthetic import synthetic
from kdcompress.engine.fit import fit
from kdcompress.engine.plan import Plan
from kdcompress.engine.store import Memory
from kdcompress.architectures.conv_ae import conv_ae
from kdcompress.stage import fed
from kdcompress.strategies.frozen import frozen
from kdcompress.types import interface

class Slot:
    def read(self): return None
    def write(self, *_): pass

torch.set_num_threads(1)
raw = torch.zeros(40_000, 1, 16, 16, dtype=torch.uint8)
pairs = [conv_ae((1, 16, 16), base=2, latent=4) for _ in range(2)]
sides = [interface(pair, raw[:2]) for pair in pairs]
stages, _ = fed(frozen(*sides, epochs=1, batch_size=2000), *sides)
memory = Memory(int(sys.argv[1]) if sys.argv[1] != "all" else None)
def one(count):
    how = {"device": torch.device("cpu"), "plan_for": lambda _: Plan(), "seed": 0, "slot": Slot(), "memory": memory}
    list(fit(stages, *pairs, raw[:count], **how))
    # Not ru_maxrss: that of a new process begins with its parent's.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
before = one(4_000)
print(one(40_000) - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured as Linux does")
def test_ten_times_the_memory_given_does_not_show_in_what_the_process_takes():
    """Inputs of both sides and cached outputs take 123 MB here, those of the first call a tenth."""
    grown = {
        given: int(
            subprocess.run([sys.executable, "-c", TRAIN, given], check=True, capture_output=True, text=True).stdout
        )
        for given in ("all", str(12 * 10**6))
    }
    assert grown["all"] > 60e6
    assert grown[str(12 * 10**6)] < 20e6
