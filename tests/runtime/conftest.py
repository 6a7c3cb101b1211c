import importlib
from pathlib import Path

import pytest

RUNTIME = Path(__file__).parent.parent.parent / "runtime"


@pytest.fixture(scope="session")
def runtime():
    """The package that is installed on devices; here it only lies beside."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(RUNTIME))
        yield importlib.import_module("kdcompress_runtime")
