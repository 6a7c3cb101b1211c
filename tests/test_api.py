import pytest
import torch

import kdcompress as kd
from kdcompress.errors import InputError
from tests.recipes import TINY


@pytest.mark.parametrize("given", [3, None, b"x"])
def test_a_path_that_is_none_is_refused(given):
    with pytest.raises(InputError, match="path: expected a path, not"):
        kd.load(given)
    with pytest.raises(InputError, match="out: expected a path, not"):
        kd.distill(TINY, out=given)
    if given is not None:
        with pytest.raises(InputError, match="recipe: expected a path, a name or a mapping, not"):
            kd.distill(given)


def test_plugins_may_be_one_file(tmp_path):
    with pytest.raises(InputError, match=r"no_such\.py: no such plug-in file"):
        kd.load("x.safetensors", plugins=str(tmp_path / "no_such.py"))
    with pytest.raises(InputError, match="plugins: expected paths of files, not 3"):
        kd.load("x.safetensors", plugins=3)


def test_a_torch_device_is_a_device(tmp_path):
    with pytest.raises(InputError, match="--device meta: unknown device"):
        kd.distill(TINY, out=tmp_path, device=torch.device("meta"))
