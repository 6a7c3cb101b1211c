import errno
import hashlib
import json
import os
import re
import sys

import pytest
import yaml

import kdcompress as kd
from kdcompress import bundle, plugins
from kdcompress import recipe as recipes
from kdcompress.__main__ import main
from kdcompress.bundle import Manifest
from kdcompress.errors import BundleError, InputError, RecipeError
from kdcompress.losses import LOSSES
from kdcompress.pipeline import run
from kdcompress.product import built
from kdcompress.start import resolve_written
from tests.plugin_files import LOSS, clean, write
from tests.recipes import tiny

__all__ = ["clean"]
pytestmark = pytest.mark.usefixtures("clean")

ARCHITECTURE = """
    import kdcompress as kd
    from kdcompress.architectures.conv_ae import conv_ae

    @kd.ARCHITECTURES.register("{name}")
    def mine(input_shape, *, width: float = 1.0):
        "A small autoencoder."
        return conv_ae(input_shape, width=width, base=4, latent=4)
"""


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def call(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit, match=r"\d+") as end:
        main([str(one) for one in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return end.value.code, captured.out, captured.err


def test_a_file_registers_what_it_has_and_is_known_by_its_content(tmp_path):
    path = write(tmp_path)
    loaded = plugins.load(path)
    assert LOSSES["mine"].outputs == ("latent",)
    assert loaded.origin == plugins.Origin("mine.py", sha256(path))
    assert loaded.registered == (("loss", "mine"),)
    assert plugins.owner("loss", "mine") == loaded.origin
    assert plugins.owner("loss", "critic") is None
    assert plugins.owner("strategy", "mine") is None


def test_a_file_is_loaded_once_by_whatever_path(tmp_path, monkeypatch):
    path = write(tmp_path / "folder")
    monkeypatch.chdir(tmp_path)
    first = plugins.load(path)
    assert plugins.load("folder/../folder/mine.py") is first
    assert plugins.load(write(tmp_path / "copy")) is first
    assert plugins.loaded() == (first,)


def test_a_file_that_changed_since_is_not_taken_for_the_same(tmp_path):
    path = write(tmp_path)
    plugins.load(path)
    path.write_text(path.read_text() + "\n# changed\n")
    with pytest.raises(InputError, match=r"mine\.py: the plug-in changed since it was loaded"):
        plugins.load(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import kdcompress\n\n1 / 0\n", r"bad\.py, line 3: ZeroDivisionError: division by zero"),
        ("def f(:\n", r"bad\.py, line 1: SyntaxError: invalid syntax"),
        ("import no_such_module\n", r"bad\.py, line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("import sys\nsys.exit(0)\n", r"bad\.py, line 2: SystemExit: 0"),
        ("x = 1\n", r"bad\.py: registers nothing; a plug-in has e\.g\."),
        ("", r"bad\.py: registers nothing"),
        ("import torch\ntorch.nn.Linear('a', 1)\n", r"bad\.py, line 2: TypeError"),
        ("# \0\n", r"bad\.py.*: (SyntaxError|ValueError): .*null bytes"),
        (LOSS.replace("{name}", "critic"), r"bad\.py, line 4: loss 'critic' is registered already; choose another"),
        (LOSS.replace("{name}", "once") * 2, r"bad\.py, line 12: loss 'once' is registered already; choose another"),
    ],
)
def test_a_file_that_fails_says_where_and_leaves_nothing(tmp_path, capsys, text, said):
    names, modules = set(LOSSES), set(sys.modules)
    path = write(tmp_path, "bad.py", text)
    with pytest.raises(InputError, match=said):
        plugins.load(path)
    assert set(LOSSES) == names
    assert not [one for one in set(sys.modules) - modules if one.startswith("kdcompress_plugin")]
    assert plugins.loaded() == ()
    code, out, err = call(capsys, "list", "--plugin", path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    path.write_text(write(tmp_path, "good.py", LOSS, name="once").read_text())
    assert plugins.load(path).registered == (("loss", "once"),)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mein.py", r"no such plug-in file; did you mean 'mine\.py'\?"),
        ("", "cannot read the plug-in: Is a directory"),
        ("nowhere/x.py", "no such plug-in file"),
        ("x\0.py", "null"),
    ],
)
def test_a_path_that_is_none(tmp_path, name, said):
    write(tmp_path)
    with pytest.raises(InputError, match=said):
        plugins.load(f"{tmp_path}/{name}")


@pytest.mark.parametrize("command", [("check", "digits"), ("check", "digits", "--syntax"), ("list", "losses")])
def test_commands_take_plug_ins(tmp_path, capsys, command):
    code, out, _ = call(capsys, *command, "--plugin", write(tmp_path))
    assert code == 0
    assert "The mean square of the latent." in out or out.endswith("ok\n")
    assert "mine" in LOSSES


def test_a_recipe_imports_nothing_and_says_what_it_wants(tmp_path, capsys):
    """Not even where the file lies beside it, and whatever the command."""
    path = write(tmp_path, text=LOSS + f"\n    open({str(tmp_path / 'ran')!r}, 'w')")
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump({**yaml.safe_load(tiny().to_yaml()), "plugins": ["mine.py"]}))
    for arguments in (
        ["check", recipe],
        ["check", recipe, "--syntax"],
        ["distill", recipe, "--out", tmp_path / "runs"],
    ):
        code, _, err = call(capsys, *arguments)
        assert code == 2
        assert f"{recipe}: plugins.0: wants the plug-in mine.py (sha256 {sha256(path)[:12]})" in err
        assert f"--plugin {path}" in err
    with pytest.raises(RecipeError, match="a recipe imports no code by itself"):
        kd.distill(recipe, out=tmp_path / "runs")
    assert "mine" not in LOSSES
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "ran").exists()


def test_a_recipe_may_load_from_the_folders_that_the_user_names(tmp_path, monkeypatch):
    path = write(tmp_path / "own" / "deep")
    monkeypatch.setenv(plugins.FOLDERS, f"{tmp_path / 'other'}:{tmp_path / 'own'}")
    (one,) = plugins.admit([("deep/mine.py", None)], str(tmp_path / "own" / "r.yaml"))
    assert one.path == path
    write(tmp_path / "ownership", "theirs.py", name="theirs")
    for file in ("../ownership/theirs.py", str(tmp_path / "ownership" / "theirs.py")):
        with pytest.raises(RecipeError, match="a recipe imports no code by itself"):
            plugins.admit([(file, None)], str(tmp_path / "own" / "r.yaml"))


def test_a_link_in_a_trusted_folder_leads_out_of_it(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.py").symlink_to(write(tmp_path / "away"))
    monkeypatch.setenv(plugins.FOLDERS, str(tmp_path / "own"))
    with pytest.raises(RecipeError, match="a recipe imports no code by itself"):
        plugins.admit([("mine.py", None)], str(tmp_path / "own" / "r.yaml"))


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("{tmp}/plug-ns", r"'{tmp}/plug-ns' is not there; did you mean 'plug-ins'\?"),
        ("{tmp}/deep/nowhere", "'{tmp}/deep/nowhere' is not there$"),
        ("{tmp}/r.yaml", r"'{tmp}/r\.yaml' cannot be read: Not a directory"),
        ("plug-ins", "'plug-ins' is relative; give it in full, e.g. {tmp}/plug-ins"),
        ("~no-such-user/plug-ins", "'~no-such-user/plug-ins' cannot be read: Could not determine home"),
    ],
)
def test_a_folder_that_is_named_in_vain_is_said_where_a_plug_in_is_missing(tmp_path, monkeypatch, capsys, named, said):
    """Also a relative one, in which the file is: wherever the command ran, that would be another folder."""
    write(tmp_path / "plug-ins")
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump({**yaml.safe_load(tiny().to_yaml()), "plugins": ["plug-ins/mine.py"]}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(plugins.FOLDERS, f"{tmp_path / 'runs'}:{named.format(tmp=tmp_path)}")
    (tmp_path / "runs").mkdir()
    code, _, err = call(capsys, "check", recipe)
    assert code == 2
    assert "plugins.0: wants the plug-in plug-ins/mine.py" in err
    assert re.search(f"{recipe}: {plugins.FOLDERS}: {said.format(tmp=tmp_path)}", err, re.MULTILINE)
    assert err.count(f"{plugins.FOLDERS}: ") == 1
    assert "mine" not in LOSSES


@pytest.mark.parametrize("closed", ["scandir", "access"])
def test_a_closed_folder_is_said_where_a_plug_in_is_missing(tmp_path, monkeypatch, closed):
    """Root may look everywhere, so the system is made to say no."""

    def refuse(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    write(tmp_path / "plug-ins")
    monkeypatch.setenv(plugins.FOLDERS, str(tmp_path / "plug-ins"))
    with monkeypatch.context() as patched:
        patched.setattr(plugins.os, closed, refuse if closed == "scandir" else lambda *_: False)
        patched.setattr(plugins.Path, "is_file", refuse)
        with pytest.raises(RecipeError, match=rf"{plugins.FOLDERS}: '.*plug-ins' cannot be read: Permission denied$"):
            plugins.admit([("plug-ins/mine.py", None)], str(tmp_path / "r.yaml"))
    assert plugins.admit([("plug-ins/mine.py", None)], str(tmp_path / "r.yaml"))


def test_a_folder_that_is_named_in_vain_does_no_harm_where_nothing_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(plugins.FOLDERS, f"{tmp_path / 'nowhere'}:relative:{tmp_path / 'own'}")
    assert call(capsys, "check", "digits", "--syntax")[0] == 0
    write(tmp_path / "own")
    (one,) = plugins.admit([("mine.py", None)], str(tmp_path / "own" / "r.yaml"))
    assert plugins.admit([("elsewhere/mine.py", None)], "r.yaml") == (one,)


def test_a_wanted_plug_in_is_served_by_its_name_but_not_by_another_content(tmp_path):
    loaded = plugins.load(write(tmp_path))
    assert plugins.admit([("elsewhere/mine.py", None)], "r.yaml") == (loaded,)
    assert plugins.admit([("renamed.py", loaded.origin.sha256)], "r.yaml") == (loaded,)
    with pytest.raises(
        RecipeError, match=r"plugins\.0: wants mine\.py \(sha256 0{12}\), but what is loaded is mine\.py"
    ):
        plugins.admit([("mine.py", "0" * 64)], "r.yaml")


def test_all_missing_plug_ins_are_named_at_once():
    with pytest.raises(RecipeError, match=r"(?s)plugins\.0: wants the plug-in a\.py;.*plugins\.1: wants .* b\.py;"):
        plugins.admit([("a.py", None), ("b.py", None)], "r.yaml")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["x.py", 3], r"plugins\.1: input should be a mapping"),
        ([{"fil": "x.py"}], r"plugins\.0\.file: missing"),
        ([{"file": "x.py", "sha256": "12"}], r"plugins\.0\.sha256"),
        ("x.py", r"plugins: input should be a list"),
    ],
)
def test_a_list_of_plug_ins_that_is_none(wanted, said):
    with pytest.raises(RecipeError, match=said):
        tiny(plugins=wanted)


def test_the_content_of_plug_ins_decides_the_digest_and_their_path_does_not(tmp_path):
    plain = resolve_written(tiny(), "r.yaml")[0]
    plugins.load(write(tmp_path))
    assert recipes.digest(resolve_written(tiny(), "r.yaml")[0]) == recipes.digest(plain), "it is not wanted"
    wanted = [resolve_written(tiny(plugins=[one]), "r.yaml")[0] for one in ("mine.py", "a/mine.py")]
    assert recipes.digest(wanted[0]) == recipes.digest(wanted[1]) != recipes.digest(plain)
    assert [one.file for one in wanted[0].plugins] == ["mine.py"]
    changed = wanted[0].plugins[0].model_copy(update={"sha256": "0" * 64})
    assert recipes.digest(wanted[0].model_copy(update={"plugins": (changed,)})) != recipes.digest(wanted[0])


def test_a_plug_in_under_another_name_gives_the_same_digest(tmp_path, monkeypatch):
    found = set()
    for file in ("one.py", "two.py"):
        monkeypatch.setattr(plugins, "_LOADED", [])
        LOSSES._items.pop("mine", None)
        plugins.load(write(tmp_path, file))
        resolved, _ = resolve_written(tiny(plugins=[file]), "r.yaml")
        assert [one.file for one in resolved.plugins] == [file]
        found.add(recipes.digest(resolved))
    assert len(found) == 1


def test_the_plug_in_of_what_a_recipe_names_is_wanted_without_being_listed(tmp_path):
    loaded = plugins.load(write(tmp_path, "arch.py", ARCHITECTURE, name="small"))
    for sections in (
        {"student": {"name": "small"}},
        {"teacher": {"architecture": {"name": "small"}}, "student": {"name": "conv_ae"}},
    ):
        (wanted,) = resolve_written(tiny(**sections), "r.yaml")[0].plugins
        assert (wanted.file, wanted.sha256) == ("arch.py", loaded.origin.sha256)


def test_a_teachers_recipe_brings_its_wants_along(tmp_path):
    (tmp_path / "t.yaml").write_text("data: {name: synthetic}\nstudent: {name: ede_gan}\nplugins: [t.py]\n")
    plain = {
        "name": "r",
        "data": {"name": "synthetic"},
        "teacher": {"recipe": "t.yaml"},
        "student": {"name": "ede_gan"},
    }
    parsed = recipes.parse({**plain, "plugins": ["own.py"]}, str(tmp_path / "r.yaml"))
    assert [one.file for one in parsed.plugins][0] == "own.py"
    with pytest.raises(RecipeError, match=rf"wants the plug-in {tmp_path}.*t\.py"):
        plugins.admit([(one.file, one.sha256) for one in parsed.plugins[1:]], "elsewhere/r.yaml")


def test_a_run_says_which_plug_ins_it_had_and_its_recipe_and_bundle_import_none(tmp_path, monkeypatch, capsys):
    """The run's own files, taken to a process that has not loaded the plug-in."""
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    path = write(tmp_path, "arch.py", ARCHITECTURE, name="small")
    plugins.load(path)
    done = run(
        tiny(student={"name": "small"}, teacher=None, strategy={"name": "scratch", "epochs": 1}), tmp_path / "runs"
    )
    origin = plugins.owner("architecture", "small")
    environment = json.loads((done.rundir.path / "environment.json").read_text())
    assert environment["plugins"] == {"arch.py": sha256(path)}
    assert bundle.read_manifest(done.rundir.bundle("student")).plugin == origin
    kd.ARCHITECTURES._forget("small")
    monkeypatch.setattr(plugins, "_LOADED", [])
    said = rf"unknown architecture 'small'.*plug-in arch\.py \(sha256 {sha256(path)[:12]}\).*--plugin FILE"
    with pytest.raises(BundleError, match=said):
        kd.load(done.rundir.bundle("student"))
    code, _, err = call(capsys, "check", done.rundir.path / "recipe.yaml")
    assert code == 2
    assert f"wants the plug-in arch.py (sha256 {sha256(path)[:12]})" in err
    assert call(capsys, "check", done.rundir.path / "recipe.yaml", "--plugin", path)[0] == 0
    assert kd.load(done.rundir.bundle("student"), plugins=[path]).score is not None
    again = recipes.load(str(done.rundir.path / "recipe.yaml"))
    assert recipes.digest(resolve_written(again, "r.yaml")[0]) == recipes.digest(
        recipes.parse(yaml.safe_load(done.rundir.recipe()))
    )


def test_a_bundle_that_does_not_fit_says_that_its_plug_in_was_another(tmp_path):
    plugins.load(write(tmp_path, "arch.py", ARCHITECTURE, name="small"))
    pair = bundle.build("small", {}, (1, 8, 8), seed=0)
    made_with = plugins.Origin("arch.py", "0" * 64)
    bundle.save(tmp_path / "b.safetensors", Manifest("small", {"width": 2.0}, (1, 8, 8), plugin=made_with), pair)
    with pytest.raises(
        BundleError, match=r"does not fit the architecture 'small' of arch\.py .*with that of arch\.py \(sha256 0"
    ):
        bundle.load(tmp_path / "b.safetensors")


def test_an_installed_distribution_adds_its_plug_ins(tmp_path, monkeypatch, capsys):
    package, metadata = tmp_path / "acme_detectors", tmp_path / "acme_detectors-1.0.dist-info"
    write(package, "__init__.py", "")
    write(package, "parts.py", LOSS, name="acme")
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-detectors\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[kdcompress.plugins]\nacme = acme_detectors.parts\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    code, out, _ = call(capsys, "list", "losses")
    assert code == 0
    assert "acme" in out
    assert plugins.owner("loss", "acme").name == "acme_detectors.parts"
    assert plugins.load_installed() == plugins.loaded()
    for module in ("acme_detectors", "acme_detectors.parts"):
        monkeypatch.delitem(sys.modules, module)


def test_a_broken_distribution_is_named(tmp_path, monkeypatch, capsys):
    metadata = tmp_path / "acme_broken-1.0.dist-info"
    write(tmp_path, "acme_broken.py", "1 / 0")
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-broken\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[kdcompress.plugins]\nbad = acme_broken\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    code, _, err = call(capsys, "list")
    assert code == 2
    assert "entry point bad of acme-broken (acme_broken), line 1: ZeroDivisionError" in err


STRATEGY = """
    import kdcompress as kd

    @kd.STRATEGIES.register("mine")
    def mine(student, teacher, *, {options}):
        "Mine."
        {body}
"""


@pytest.mark.parametrize(
    ("options", "body", "said"),
    [
        ("epochs=3", "return ()", "option 'epochs' needs a type, e.g. epochs: int = 1"),
        ("epochs: int = 3", "return ()", "strategy: it has no stages"),
        ("epochs: int = 3", "raise ValueError('oh')", "mine.py, line 7: ValueError: oh"),
        (
            "epochs: int = 3",
            "return (kd.Stage('s', 1, 8, (kd.Update(('student.critics',), (), kd.Adam()),), None),)",
            "unknown part 'student.critics'; did you mean 'student.critic'?",
        ),
    ],
)
def test_what_a_strategy_gets_wrong_is_said_by_check(tmp_path, capsys, options, body, said):
    text = STRATEGY.replace("{options}", options).replace("{body}", body)
    path = write(tmp_path, text=text)
    code, _, err = call(capsys, "check", "digits", "--set", "strategy={name: mine}", "--plugin", path)
    assert code == 2
    assert said in err


def test_an_architecture_without_a_width_is_refused(tmp_path, capsys):
    path = write(
        tmp_path, text=ARCHITECTURE.replace("width: float = 1.0", "size: int = 1").replace("width=width, ", "")
    )
    code, _, err = call(capsys, "check", "digits", "--set", "student={name: mine}", "--plugin", path)
    assert code == 2
    assert "student.name: architecture 'mine' lacks the option that students are made with, width: float = 1.0" in err


RETURNS = {
    "architecture": """
        import torch
        import kdcompress as kd

        class Scored(kd.Detector):
            pass

        @kd.ARCHITECTURES.register("mine")
        def mine(input_shape, *, width: float = 1.0):
            "Mine."
            return {value}
    """,
    "data set": """
        import numpy, torch
        import kdcompress as kd

        @kd.DATASETS.register("mine")
        def mine():
            "Mine."
            images, labels = torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 1, 1])
            return {value}
    """,
    "strategy": """
        import kdcompress as kd

        @kd.STRATEGIES.register("mine")
        def mine(student, teacher, *, epochs: int = 3):
            "Mine."
            stage = kd.Stage("s", epochs, 8, (), kd.SCHEDULES["cosine"])
            return {value}
    """,
}
SECTIONS = {
    "architecture": "student={name: mine}",
    "data set": "data={name: mine}",
    "strategy": "strategy={name: mine}",
}


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("architecture", "None", "None; it should return kdcompress.Pair"),
        ("architecture", "torch.nn.Linear(3, 3)", "Linear; it should return kdcompress.Pair"),
        ("architecture", "Scored()", "Scored; it should return kdcompress.Pair"),
        ("architecture", "(Scored(), None)", "tuple; it should return kdcompress.Pair"),
        ("architecture", "kd.Pair", "type; it should return kdcompress.Pair"),
        (
            "architecture",
            "kd.Pair(torch.nn.Linear(3, 3))",
            "Pair whose detector is Linear; it should be kdcompress.Detector",
        ),
        (
            "architecture",
            "kd.Pair(Scored(), torch.nn.Linear(3, 3))",
            "Pair whose critic is Linear; it should be kdcompress.Critic or None",
        ),
        ("data set", "None", "None; it should return kdcompress.OneClassData"),
        ("data set", "(images, images)", "tuple; it should return kdcompress.OneClassData"),
        (
            "data set",
            "kd.OneClassData('mine', None, images, images, images, labels.numpy())",
            "OneClassData whose labels is ndarray; it should be Tensor",
        ),
        (
            "data set",
            "kd.OneClassData('mine', numpy.int64(3), images, images, images, labels)",
            "OneClassData whose normal_class is int64; it should be int or str or None",
        ),
        ("strategy", "None", "None; it should return a tuple of kdcompress.Stage"),
        ("strategy", "stage", "Stage; it should return a tuple of kdcompress.Stage"),
        ("strategy", "[stage]", "list; it should return a tuple of kdcompress.Stage"),
        ("strategy", "(stage, 'end')", "tuple with str in it; it should return a tuple of kdcompress.Stage"),
    ],
)
def test_what_a_builder_returns_wrongly_is_said_with_its_file(tmp_path, capsys, kind, value, said):
    path = write(tmp_path, text=RETURNS[kind].replace("{value}", value))
    code, _, err = call(capsys, "check", "digits", "--set", SECTIONS[kind], "--plugin", path)
    assert code == 2
    assert f"{path}: {kind} 'mine' returned {said}" in err
    if kind == "architecture":
        code, _, err = call(capsys, "profile", "mine", "--input", "1,8,8", "--plugin", path)
        assert (code, err) == (2, f"kdcompress: {path}: {kind} 'mine' returned {said}\n")


def test_what_was_registered_without_a_file_is_named_by_itself():
    kd.STRATEGIES.register("mine")(lambda student, teacher: None)
    with pytest.raises(
        InputError, match=r"^strategy 'mine' returned None; it should return a tuple of kdcompress\.Stage"
    ):
        built(kd.STRATEGIES, tuple[kd.Stage, ...], "mine", {}, None, None)
