from kdcompress.cli.display import Display
from kdcompress.engine.events import Noted, Spilled


def test_what_goes_into_a_file_is_said_also_without_a_terminal(capsys):
    with Display() as display:
        display.observe("student", Spilled("the teacher's outputs 'latent'", 3_100_000_000, 1_000_000_000))
    said = "student: the teacher's outputs 'latent' take 3.10 GB, more than the 1.00 GB of memory left: kept in a file"
    assert said in capsys.readouterr().err


def test_what_data_left_out_is_said_once(capsys):
    with Display() as display:
        display.observe("data", Noted(("it.csv: 3 rows are left out", "2 images")))
        display.observe("teacher", Noted(("it.csv: 3 rows are left out",)))
    assert capsys.readouterr().err.splitlines() == ["note: it.csv: 3 rows are left out", "note: 2 images"]


def test_nothing_is_said_to_those_who_want_silence(capsys):
    with Display(silent=True) as display:
        display.observe("student", Spilled("rows", 2, 1))
    assert capsys.readouterr().err == ""
