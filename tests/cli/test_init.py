import pytest
import yaml

from kdcompress import recipe
from kdcompress.__main__ import main
from kdcompress.recipe import Recipe


def call(capsys, *arguments):
    with pytest.raises(SystemExit, match=r"\d+") as end:
        main([str(one) for one in arguments])
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


@pytest.mark.parametrize(
    ("folder", "name"),
    [("eights", "eights"), ("my eights", "my-eights"), ("a/b/Größe_1", "Gr--e_1"), ("é", "my-detector"), (".", None)],
)
def test_it_writes_a_recipe_that_passes_check_and_says_what_is_next(capsys, tmp_path, folder, name):
    path = tmp_path / folder / "recipe.yaml"
    code, out, _ = call(capsys, "init", tmp_path / folder)
    assert code == 0
    assert f"wrote {path}\n" in out
    assert "kdcompress check " in out
    assert recipe.load(str(path)).name == (name or tmp_path.name)
    code, out, err = call(capsys, "check", path)
    assert (code, out, err) == (0, f"{path}: ok\n", "")


def test_it_overwrites_nothing(capsys, tmp_path):
    (tmp_path / "recipe.yaml").write_text("mine")
    code, out, err = call(capsys, "init", tmp_path)
    assert (code, out) == (2, "")
    assert f"{tmp_path / 'recipe.yaml'}: is there already" in err
    assert (tmp_path / "recipe.yaml").read_text() == "mine"


def test_a_file_where_the_folder_should_be(capsys, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = call(capsys, "init", tmp_path / "file")
    assert code == 2
    assert str(tmp_path / "file") in err


def test_every_section_of_a_recipe_is_in_it(capsys, tmp_path):
    call(capsys, "init", tmp_path)
    text = (tmp_path / "recipe.yaml").read_text()
    assert set(Recipe.model_fields) == {*yaml.safe_load(text), "plugins"}
    assert "# plugins:" in text
