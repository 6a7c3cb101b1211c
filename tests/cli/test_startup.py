import subprocess
import sys

import pytest

FAST = [
    ["--help"],
    ["list"],
    ["list", "recipes"],
    ["distill", "--help"],
    ["benchmark", "--help"],
    ["search", "--help"],
    ["check", "digits", "--syntax"],
    ["check", "digits", "--syntax", "--set", "search.student.latent=[1,2]"],
]


@pytest.mark.parametrize("arguments", FAST, ids=" ".join)
def test_what_must_start_fast_does_not_load_torch(arguments):
    """A time would depend on the machine; what makes it long does not."""
    code = (
        "import sys\nfrom kdcompress.__main__ import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "slow = {'torch', 'sklearn', 'matplotlib', 'scipy', 'torchvision', 'ray'}\n"
        "print(sorted(slow & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(("command", "also"), [("--help", "'rich', 'yaml'"), ("list", "'numpy'")])
def test_help_and_list_do_not_even_load_pydantic(command, also):
    code = (
        "import sys\nfrom kdcompress.__main__ import main\n"
        f"try:\n    main(['{command}'])\nexcept SystemExit:\n    pass\n"
        f"print(sorted({{'pydantic', 'numpy', {also}}} & set(sys.modules)), file=sys.stderr)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr == "[]\n"
