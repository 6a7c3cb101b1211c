import json
import re
from pathlib import Path

import pytest
import yaml

from kdcompress import library
from kdcompress import recipe as recipes
from kdcompress.errors import InputError, RecipeError
from kdcompress.library import find, shipped
from kdcompress.recipe import Recipe, Ref, digest, load, parse
from kdcompress.resolve import resolve

FOLDER = Path(__file__).parent.parent / "recipes"
SHIPPED = sorted(FOLDER.rglob("*.yaml"))
BASE = "data: {name: digits}\nstudent: {name: ede_gan, width: 0.5}\n"
TEACHER = "data: {name: digits}\nstudent: {name: ede_gan, latent: 32, base: 16}\nstrategy: {name: scratch, epochs: 9}\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a file beside the others and returns its name."""
    monkeypatch.chdir(tmp_path)

    def write(text, name="my.yaml"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
        return name

    return write


def problems(name, overrides=()):
    with pytest.raises(RecipeError) as caught:
        load(name, overrides)
    assert caught.value.where == name
    return list(caught.value.problems)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(FOLDER)))
class TestShipped:
    def test_it_loads_and_resolves_without_its_data(self, path, monkeypatch, tmp_path):
        monkeypatch.setenv("KDCOMPRESS_DATA", str(tmp_path / "nothing"))
        found = resolve(load(str(path)), str(path))
        assert found.name == path.stem
        assert found.strategy is not None

    def test_its_head_says_what_it_is_and_how_to_run_it(self, path):
        head = re.match(r"(#.*\n)+", path.read_text(encoding="utf-8"))
        lines = [line[2:] for line in head[0].splitlines()]
        assert lines[0].endswith(".")
        (command,) = [line for line in lines if line.startswith("kdcompress ")]
        name = path.stem if path.stem != library.DEFAULT else ""
        words = command.split()
        assert words[1] in {"distill", "benchmark", "search"}
        assert (words[2:3] or [""]) == [name]
        overrides = [words[index + 1] for index, word in enumerate(words) if word == "--set"]
        resolve(load(str(path), overrides), command)

    def test_it_says_what_it_is_in_one_line(self, path):
        description = load(str(path)).description
        assert description
        assert "\n" not in description

    def test_it_is_found_by_its_name(self, path):
        assert find(path.stem).read_bytes() == path.read_bytes()
        assert path.stem in shipped()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a mapping of keys such as data, teacher, student"),
        ("# nothing\n", "expected a mapping of keys such as data, teacher, student"),
        ("- 1\n", "expected a mapping of keys such as data, teacher, student"),
        ("foo", "expected a mapping of keys such as data, teacher, student"),
        (BASE + "seed: 1\nseed: 2\n", "line 4, column 1: duplicate key 'seed'"),
        (BASE + "seed: [\n", "line 4, column 1: "),
        (
            BASE + "stratgy: {name: scratch}\n",
            "stratgy: unknown key 'stratgy'; did you mean 'strategy'? (allowed: name, ",
        ),
        (
            BASE + "engine: {precison: fp32}\n",
            "engine.precison: unknown key 'precison'; did you mean 'precision'? (allowed",
        ),
        (
            BASE + "engine: {precision: fp16}\n",
            "engine.precision: input should be 'auto', 'fp32' or 'bf16'",
        ),
        (
            BASE + "engine: {channels_last: x}\n",
            "engine.channels_last: input should be a valid boolean or 'auto'",
        ),
        (BASE + "engine: {threads: 0}\n", "engine.threads: input should be greater than or equal to 1, not 0"),
        (BASE + "engine.threads: 1\n", "engine.threads: unknown key 'engine.threads'; did you mean 'engine'?"),
        (
            BASE + "evaluation: {false_positive_rate: 0.1, quantile: 0.9}\n",
            "evaluation: give one of false_positive_rate, quantile",
        ),
        (
            BASE + "evaluation: {false_positive_rate: 1}\n",
            "evaluation.false_positive_rate: input should be less",
        ),
        (BASE + "seed: .inf\n", "seed: input should be a finite number, not inf"),
        (BASE + "seed: .nan\n", "seed: input should be a finite number, not nan"),
        (BASE + "seed: -1\n", "seed: input should be greater than or equal to 0, not -1"),
        (BASE + "seed: 1.5\n", "seed: input should be a valid integer, not 1.5"),
        (BASE + "seed: null\n", "seed: input should be a valid integer, not null"),
        (BASE + f"seed: {10**40}\n", "seed: input should be less than 9223372036854775808, not so large a number"),
        (BASE + "control: maybe\n", "control: input should be a valid boolean, not 'maybe'"),
        (BASE + "1: 2\n", "1: keys should be strings, not 1"),
        (BASE + "description: &a [*a]\n", "description: input should be a valid string, not a list"),
        ("data: digits\nstudent: {name: x}\n", "data: input should be a mapping of keys such as {name: digits}"),
        ("data:\nstudent: {name: x}\n", "data: input should be a mapping of keys, not null"),
        ("data: {nam: x}\nstudent: {name: x}\n", "data.name: missing"),
        ("student: {name: x}\n", "data: missing"),
        ("data: {name: x}\nstudent: {name: x, width: 0}\n", "student.width: input should be greater than 0, not 0"),
        ("data: {name: x}\nstudent: {name: x, width: 17}\n", "student.width: input should be less than or equal to 16"),
        (
            "data: {name: x}\nstudent: {name: x, macs_ratio: .inf}\n",
            "student.macs_ratio: input should be a finite",
        ),
        (
            "data: {name: x}\nstudent: {name: x, params: 1.0e+30}\n",
            "student.params: input should be a smaller integer, not 1e+30",
        ),
        (
            "data: {name: x}\nstudent: {name: x, width: 1, macs: 3}\n",
            "student: give only one of width, macs_ratio, macs, params (given: width, macs)",
        ),
        (BASE + "teacher: x\n", "teacher: input should be a mapping of keys such as {recipe: x}, not 'x'"),
        (BASE + "teacher: {}\n", "teacher: give one of recipe, bundle, architecture"),
        (BASE + "teacher: {bundle: x, seed: 1}\n", "teacher: a bundle is trained already: give either bundle or seed"),
        (
            BASE + "teacher: {bundle: x, recipe: teacher-digits}\n",
            "teacher: a bundle is trained already: give either bundle or recipe",
        ),
        (BASE + "teacher: {recipe: 3}\n", "teacher.recipe: input should be a valid string, not 3"),
        (BASE + "teacher: {adapter: {file: a.onnx}}\n", "teacher.adapter.name: missing"),
        (
            BASE + "teacher: {adapter: {name: onnx}, bundle: a, seed: 3}\n",
            "teacher: adapter: a detector that is there already: give either adapter or bundle",
        ),
        (BASE + "teacher: {seed: 3}\n", "teacher: give one of recipe, bundle, architecture, ensemble, adapter"),
        (
            BASE + "teacher: {recipe: teacher-digit}\n",
            "teacher.recipe: unknown recipe 'teacher-digit'",
        ),
        (BASE + "teacher: {recipe: no.yaml}\n", "teacher.recipe: no.yaml: no such recipe file"),
        (BASE + "grid: {seed: [1, 2]}\n", "grid: this is a suite of runs; use `kdcompress benchmark` for it"),
        *(
            (BASE + f"name: {name}\n", "name: ")
            for name in ("../x", "a/b", "'a b'", ".x", "-x", "''", '"a\\n"', "é", "3")
        ),
        (BASE + f"name: {'a' * 101}\n", "name: 'aaa"),
    ],
)
def test_what_is_wrong_is_named(write, text, said):
    (problem,) = problems(write(text))
    assert problem.startswith(said)
    assert len(problem) < 600


def test_all_problems_are_in_one_error(write):
    found = problems(
        write(
            "name: a/b\nseed: -1\nfoo: 1\ndata: {nam: digits}\nstudent: {name: ede_gan, width: 0, macs: 0}\n"
            "teacher: {recipe: nowhere}\nengine: {precision: fp8, x: 1}\nevaluation: {false_positive_rate: 2}\n"
        )
    )
    assert {one.partition(":")[0] for one in found} == {
        *("name", "seed", "foo", "data.name", "student.width", "student.macs", "teacher.recipe"),
        *("engine.precision", "engine.x", "evaluation.false_positive_rate"),
    }
    assert len(found) == 10


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe\x00", "not a text file in UTF-8"),
        (b"a: \xe9\n", "not a text file in UTF-8"),
        (b"\x00", "YAML does not"),
    ],
)
def test_a_file_that_is_no_text_is_named(write, content, said):
    Path(write("")).write_bytes(content)
    assert said in problems("my.yaml")[0]


def test_a_file_that_cannot_be_read_is_named(write, monkeypatch):
    name = write(BASE)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    assert problems(name) == ["cannot read it: Permission denied"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mnits", r"unknown recipe 'mnits'; did you mean 'mnist'\? \(allowed: .*digits, .*\); or give the path"),
        ("MNIST", r"did you mean 'mnist'\?"),
        ("", "unknown recipe ''"),
        ("x" * 5000, "unknown recipe 'xxx"),
        ("a\0b", "unknown recipe"),
        ("my.yml", r"my.yml: no such recipe file; did you mean 'my.yaml'\?"),
        ("nowhere/my.yaml", "nowhere/my.yaml: no such recipe file$"),
        ("x" * 300 + ".yaml", "no such recipe file"),
        ("folder", "folder: a folder, not a recipe"),
        ("folder.yaml", "folder.yaml: a folder, not a recipe"),
    ],
)
def test_a_recipe_that_is_not_there_is_named(write, name, said):
    write(BASE)
    Path("folder").mkdir()
    Path("folder.yaml").mkdir()
    with pytest.raises(InputError, match=said) as caught:
        load(name)
    assert len(str(caught.value)) < 600


def test_a_recipe_is_called_as_its_file_unless_it_says_otherwise(write):
    assert load(write(BASE)).name == "my"
    assert load(write(BASE + "name: other\n")).name == "other"
    assert "folder" in problems(write(BASE, "my recipe.yaml"))[0]


def test_the_file_wins_over_a_shipped_name(write):
    write(BASE + "seed: 5\n", "mnist")
    assert load("mnist").seed == 5


def test_line_ends_and_marks_of_windows_do_not_matter(write):
    text = BASE + "seed: 3\n"
    plain = load(write(text))
    Path("my.yaml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert load("my.yaml") == plain


def test_overrides_are_applied_in_order(write):
    name = write(BASE)
    found = load(name, ["seed=3", "data.normal_class=8", "student.width=0.25", "seed=4", "strategy.name=scratch"])
    assert (found.seed, found.data, found.student.width) == (4, Ref(name="digits", normal_class=8), 0.25)
    assert found.strategy == Ref(name="scratch")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("stratgy.name=scratch", "my.yaml: stratgy: unknown key 'stratgy'; did you mean 'strategy'"),
        ("seed=-3", "my.yaml: seed: input should be greater than or equal to 0, not -3"),
        ("grid.seed=[1]", "my.yaml: grid: this is a suite"),
        ("seed", "--set seed: expected KEY=VALUE"),
        ("seed.x=3", "--set seed.x=3: 'x' cannot be set"),
    ],
)
def test_a_bad_override_is_named(write, override, said):
    name = write(BASE + "seed: 0\n")
    with pytest.raises(RecipeError, match=re.escape(said)):
        load(name, [override])


def test_sections_of_a_bundle_can_be_overridden_and_others_not():
    given = {"data": {"name": "digits", "normal_class": 8}}
    found = recipes.overridden(
        given, ["data.normal_class=3", "evaluation.false_positive_rate=0.1"], ("data", "evaluation")
    )
    assert found == {"data": {"name": "digits", "normal_class": 3}, "evaluation": {"false_positive_rate": 0.1}}
    assert given == {"data": {"name": "digits", "normal_class": 8}}
    with pytest.raises(RecipeError, match="unknown section 'dta'; did you mean 'data'"):
        recipes.overridden(given, ["dta.x=3"], ("data", "evaluation"))


class TestTeacher:
    def test_a_teachers_recipe_gives_the_defaults(self, write):
        write(TEACHER, "big.yaml")
        teacher = load(write(BASE + "teacher: {recipe: big.yaml}\n")).teacher
        assert teacher.architecture == Ref(name="ede_gan", latent=32, base=16)
        assert teacher.strategy == Ref(name="scratch", epochs=9)
        assert teacher.seed is None

    def test_it_is_looked_for_beside_the_recipe_first(self, write, monkeypatch, tmp_path):
        write(TEACHER.replace("32", "64"), "teacher-digits")
        write(TEACHER, "deep/down/teacher-digits")
        name = write(BASE + "teacher: {recipe: teacher-digits}\n", "deep/down/my.yaml")
        assert load(name).teacher.architecture.options["latent"] == 32
        monkeypatch.chdir(tmp_path / "deep")
        assert load(str(tmp_path / name)).teacher.architecture.options["latent"] == 32

    def test_its_options_can_be_overridden_one_by_one(self, write):
        write(TEACHER, "big.yaml")
        name = write(BASE + "teacher: {recipe: big.yaml}\n")
        teacher = load(name, ["teacher.strategy.epochs=2", "teacher.architecture.latent=64", "teacher.seed=5"]).teacher
        assert teacher.architecture == Ref(name="ede_gan", latent=64, base=16)
        assert teacher.strategy == Ref(name="scratch", epochs=2)
        assert teacher.seed == 5

    def test_another_architecture_takes_no_options_along(self, write):
        write(TEACHER, "big.yaml")
        teacher = load(write(BASE + "teacher: {recipe: big.yaml, architecture: {name: other, depth: 2}}\n")).teacher
        assert teacher.architecture == Ref(name="other", depth=2)
        assert teacher.strategy == Ref(name="scratch", epochs=9)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("data: [\n", "teacher.recipe: big.yaml: line 2, column 1:"),
            ("", "teacher.recipe: big.yaml: expected a mapping"),
            ("data: {name: digits}\nstudnt: {name: ede_gan}\n", "teacher.recipe: big.yaml: student: missing"),
            (TEACHER + "seed: -1\n", "teacher.recipe: big.yaml: seed: input should be"),
            (TEACHER + "grid: {seed: [1]}\n", "teacher.recipe: big.yaml: grid: this is a suite"),
            (TEACHER + "teacher: {recipe: big.yaml}\n", "teacher.teacher.recipe: big.yaml would be its own teacher"),
        ],
    )
    def test_what_is_wrong_in_its_recipe_is_named_with_its_file(self, write, text, said):
        write(text, "big.yaml")
        found = problems(write(BASE + "teacher: {recipe: big.yaml}\nseed: -1\n"))
        assert found[0].startswith(said)
        assert found[-1].startswith("seed: ")


class TestRoundTrip:
    TEXTS = (
        BASE,
        BASE + "seed: 3\ndescription: 'two: words, ''quoted'', é \\u2028 # no comment'\ncontrol: false\n",
        BASE + "strategy: {name: scratch, learning_rate: 1e-3, averaging: null}\nengine: {threads: 2}\n",
        "data: {name: digits}\nteacher: {recipe: big.yaml, seed: 4}\nstudent: {name: ede_gan, macs_ratio: 10}\n",
        "data: {name: digits}\nteacher: {bundle: /x/y}\nstudent: {name: ede_gan, macs: 1000, depth: null}\n",
    )

    @pytest.mark.parametrize("resolved", [False, True])
    @pytest.mark.parametrize("text", TEXTS)
    def test_yaml_gives_the_same_recipe_and_digest_again(self, write, monkeypatch, tmp_path, text, resolved):
        write(TEACHER, "big.yaml")
        first = load(write(text))
        first = resolve(first, "my.yaml", Ref(name="ede_gan", latent=7)) if resolved else first
        # A resolved recipe stands alone, in the folder of its run.
        again = load(write(first.to_yaml(), "runs/my/0123/my.yaml" if resolved else "my.yaml"))
        assert again == first
        assert digest(again) == digest(first)
        assert again.to_yaml() == first.to_yaml()
        again = resolve(again, "my.yaml", Ref(name="ede_gan", latent=7))
        assert again == resolve(first, "my.yaml", Ref(name="ede_gan", latent=7))

    def test_shipped_recipes_too(self):
        for path in SHIPPED:
            found = resolve(load(str(path)), str(path))
            assert parse(yaml.safe_load(found.to_yaml())) == found


class TestDigest:
    TEXT = BASE + "teacher: {architecture: {name: ede_gan}}\n"

    def of(self, write, text, overrides=(), hashes=("d1", "")):
        return digest(resolve(load(write(text), overrides), "my.yaml"), *hashes)

    def test_it_is_twelve_hex_digits(self, write):
        assert re.fullmatch("[0-9a-f]{12}", self.of(write, self.TEXT))

    @pytest.mark.parametrize(
        "override",
        [
            "seed=1",
            "data.normal_class=1",
            "data.validation=0.3",
            "data.name=synthetic",
            "teacher.architecture.latent=64",
            "teacher.strategy.epochs=11",
            "teacher.strategy.weights.adversarial=1",
            "teacher.seed=1",
            "student.width=0.25",
            "student.latent=5",
            "student.depth=1",
            "strategy={name: scratch}",
            "strategy={name: progressive, batch_size: 32}",
            "strategy={name: progressive, steps: [{epochs: 19}]}",
            "strategy={name: progressive, averaging: 0.5}",
            "control=false",
            "engine.precision=fp32",
            "evaluation.false_positive_rate=0.1",
        ],
    )
    def test_it_changes_with_every_option(self, write, override):
        text = self.TEXT.replace("}}", "}, strategy: {name: scratch}}")
        assert self.of(write, text, [override]) != self.of(write, text)

    @pytest.mark.parametrize("hashes", [("d2", ""), ("d1", "x"), ("", "d1"), ("d1",)])
    def test_it_changes_with_the_hashes_of_what_goes_in(self, write, hashes):
        assert self.of(write, self.TEXT, hashes=hashes) != self.of(write, self.TEXT)

    def test_it_changes_with_the_trainings_version(self, write, monkeypatch):
        before = self.of(write, self.TEXT)
        monkeypatch.setattr(recipes, "TRAINING_BITS", recipes.TRAINING_BITS + 1)
        assert self.of(write, self.TEXT) != before

    @pytest.mark.parametrize(
        "override",
        [
            "name=other",
            "description=other",
            "seed=0",
            "control=true",
            "data.validation=0.25",
            "data.normal_class=0",
            "teacher.seed=0",
            "teacher.architecture.depth=null",
            "teacher.architecture.width=1",
            "teacher.strategy={name: scratch}",
            "teacher.strategy.learning_rate=4e-4",
            "teacher.strategy.weights.reconstruction=50",
            "student.latent=128",
            "strategy={name: progressive}",
            "engine={precision: auto}",
            "evaluation.false_positive_rate=0.05",
        ],
    )
    def test_it_does_not_change_with_names_and_defaults_written_out(self, write, override):
        text = self.TEXT.replace("}}", "}, strategy: {name: scratch}}")
        assert self.of(write, text, [override]) == self.of(write, self.TEXT)

    @pytest.mark.parametrize("name", ["scratch", "progressive"])
    def test_it_does_not_change_when_all_of_a_strategy_is_written_out(self, write, name):
        short = f"strategy={{name: {name}}}"
        full = resolve(load(write(self.TEXT), [short]), "my.yaml").strategy.model_dump(mode="json")
        assert self.of(write, self.TEXT, [f"strategy={json.dumps(full)}"]) == self.of(write, self.TEXT, [short])

    def test_the_full_width_is_a_default(self, write):
        text = "data: {name: digits}\nstudent: {name: ede_gan%s}\n"
        assert self.of(write, text % "") == self.of(write, text % ", width: 1")

    def test_it_does_not_change_with_where_the_data_are(self, write):
        text = "data: {name: mnist%s}\nstudent: {name: ede_gan}\n"
        assert len({self.of(write, text % root) for root in ("", ", root: /a", ", root: /b")}) == 1

    def test_it_does_not_change_with_the_path_of_the_teachers_bundle(self, write):
        found = set()
        for path in ("a.safetensors", "/b/c.safetensors"):
            recipe = load(write(BASE + f"teacher: {{bundle: {path}}}\n"))
            found.add(digest(resolve(recipe, "my.yaml", Ref(name="ede_gan", latent=3)), "d1", "hash"))
        assert len(found) == 1

    def test_it_does_not_change_with_how_the_teacher_is_written(self, write):
        write(TEACHER, "big.yaml")
        write(TEACHER, "same.yaml")
        written = "{architecture: {name: ede_gan, latent: 32, base: 16}, strategy: {name: scratch, epochs: 9}}"
        teachers = ("{recipe: big.yaml}", "{recipe: same.yaml}", written)
        assert len({self.of(write, BASE + f"teacher: {one}\n") for one in teachers}) == 1


def test_a_recipe_cannot_be_changed(write):
    recipe = load(write(BASE))
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3


def test_the_json_schema_knows_every_section():
    schema = Recipe.model_json_schema()
    assert {"data", "teacher", "student", "strategy", "seed", "engine"} <= schema["properties"].keys()
    assert re.match(schema["properties"]["name"]["pattern"], "teacher-mnist")
    assert not re.match(schema["properties"]["name"]["pattern"], "a/b")


def test_the_memory_given_is_not_part_of_the_digest():
    def given(**engine):
        return digest(parse({"name": "r", **yaml.safe_load(BASE), "engine": engine}))

    assert given(threads=1) == given(threads=1, memory_bytes=2**20)
    assert given(threads=1) != given(threads=2)
    with pytest.raises(RecipeError, match="engine.memory_bytes: input should be greater than or equal to 1048576"):
        given(memory_bytes=1)


def test_a_quantile_stands_in_place_of_the_rate_and_survives_being_written(tmp_path):
    plain = {**yaml.safe_load(BASE), "name": "it"}
    one, other = (parse({**plain, **more}, "it") for more in ({"evaluation": {"quantile": 0.9}}, {}))
    assert (one.evaluation.false_positive_rate, one.evaluation.quantile) == (None, 0.9)
    assert one.evaluation.wanted == pytest.approx(0.1)
    (tmp_path / "it.yaml").write_text(one.to_yaml())
    assert load(str(tmp_path / "it.yaml")).evaluation == one.evaluation
    assert digest(one) != digest(other)
