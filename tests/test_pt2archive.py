"""Files of torch.export that would run code on loading are refused before torch sees them."""

import io
import json
import pickle
import zipfile

import pytest
import torch

from kdcompress.errors import BundleError
from kdcompress.exporting import pt2
from kdcompress.pt2archive import refuse_code

GRAPH = "models/model.json"


def changed(files, tmp_path, change):
    """Write the file with other members, and a hash that fits them."""
    with zipfile.ZipFile(files["pt2"]) as archive:
        content = {info.filename: archive.read(info) for info in archive.infolist()}
    plain = {name.partition("/")[2]: value for name, value in content.items()}
    change(plain)
    for _ in range(2):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, value in plain.items():
                archive.writestr(f"archive/{name}", value)
        plain["extra/kdcompress.sha256"] = pt2._hash(buffer.getvalue()).encode()
    return buffer.getvalue()


def in_json(member, edit):
    def change(plain):
        found = json.loads(plain[member])
        edit(found)
        plain[member] = json.dumps(found).encode()

    return change


def first_node(graph):
    return graph["graph_module"]["graph"]["nodes"][0]


class Trap:
    """Sets a flag where it is unpickled."""

    def __reduce__(self):
        return (exec, ("import builtins; builtins.kdcompress_trapped = True",))


def pickled_weight(plain):
    config = json.loads(plain["data/weights/model_weights_config.json"])
    entry = next(iter(config["config"].values()))
    entry["use_pickle"] = True
    plain["data/weights/model_weights_config.json"] = json.dumps(config).encode()
    buffer = io.BytesIO()
    torch.save(Trap(), buffer)
    plain[f"data/weights/{entry['path_name']}"] = buffer.getvalue()


def set_range(graph):
    graph["range_constraints"]["__import__('os')"] = {"min_val": 0, "max_val": 1}


def set_expression(graph):
    text = json.dumps(graph).replace("Symbol('s", "__import__('os').system('s")
    graph.update(json.loads(text))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (pickled_weight, "is pickled"),
        (lambda plain: plain.update({"data/sample_inputs/model.pt": pickle.dumps(Trap())}), "pickled sample inputs"),
        (lambda plain: plain.update({"data/constants/custom_obj_0": b"x"}), "a member 'data/constants/custom_obj_0'"),
        (lambda plain: plain.update({"archive_format": b"pt1"}), "older format"),
        (lambda plain: plain.update({"serialized_state_dict.pt": b""}), "a member 'serialized_state_dict.pt'"),
        (in_json(GRAPH, lambda g: first_node(g).update(target="torch.load")), "it calls 'torch.load'"),
        (in_json(GRAPH, lambda g: first_node(g).update(target="torch.ops.aten.x.y.z")), "it calls"),
        (in_json(GRAPH, lambda g: first_node(g).update(target="_operator.attrgetter")), "it calls"),
        (in_json(GRAPH, lambda g: g.update(guards_code=["exit()"])), "guards"),
        (in_json(GRAPH, lambda g: first_node(g).update(name="x; exit()")), "a value named"),
        (in_json(GRAPH, set_range), "constraints"),
        (in_json(GRAPH, set_expression), "it evaluates"),
    ],
)
def test_what_could_run_code_is_refused(files, tmp_path, change, said):
    data = changed(files, tmp_path, change)
    with pytest.raises(BundleError, match=f"refused: .*{said}"):
        pt2.opened(data, tmp_path / "x.pt2")
    import builtins

    assert not hasattr(builtins, "kdcompress_trapped")


def test_the_trap_works(files, tmp_path, monkeypatch):
    """Or else the test above could not fail: torch itself would have run it."""
    import builtins

    monkeypatch.setattr(builtins, "kdcompress_trapped", False, raising=False)
    data = changed(files, tmp_path, pickled_weight)
    with pytest.raises(Exception, match="."):  # noqa: B017, PT011 - whatever torch makes of it
        torch.export.load(io.BytesIO(data)).module()
    assert builtins.kdcompress_trapped


def test_a_file_made_anew_with_the_same_content_is_taken(files, tmp_path):
    data = changed(files, tmp_path, lambda plain: None)
    assert pt2.opened(data, tmp_path / "x.pt2").metadata.architecture == "conv_ae"


def test_two_members_of_one_name_are_refused(files, tmp_path):
    buffer = io.BytesIO(files["pt2"].read_bytes())
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/models/model.json", "{}")
    with pytest.raises(BundleError, match="one name"):
        refuse_code(buffer.getvalue(), tmp_path)


def test_a_file_of_torch_export_of_someone_else_is_told(tmp_path):
    program = torch.export.export(torch.nn.Linear(2, 1), (torch.zeros(3, 2),))
    program.example_inputs = None
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    with pytest.raises(BundleError, match="no metadata of kdcompress"):
        pt2.opened(buffer.getvalue(), tmp_path / "x.pt2")
