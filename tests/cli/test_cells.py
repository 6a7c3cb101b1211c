"""What the terminal shows of a suite that is done."""

from pathlib import Path

from kdcompress.cli.cells import show
from kdcompress.reporting.summary import groups
from kdcompress.scale.benchmark import Work
from kdcompress.scale.local import HERE
from kdcompress.suitedir import SuiteDir

RESULTS = Path(__file__).parent.parent.parent / "benchmarks" / "results"


def test_no_name_is_cut_in_eighty_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    folder = SuiteDir(RESULTS / "students")
    manifest = folder.manifest()
    show(Work(folder, manifest, (), "cpu", 1, 1, HERE))
    lines = capsys.readouterr().out.splitlines()
    (head,) = (line for line in lines if "MACs" in line)
    # Names are left of numbers, of which "13/13" is the first.
    edge = head.index(" n ") - 4
    names = "".join(line[:edge] for line in lines).replace(" ", "")
    for group in groups(manifest, folder.results(manifest)):
        assert group.label.replace(" ", "") in names
