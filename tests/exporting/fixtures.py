"""Exported files that several folders test with."""

import pytest


@pytest.fixture(scope="session")
def conv_ae():
    """A bundle; what it takes is imported here, for every test imports this module."""
    from tests.exporting.detectors import small

    return small("conv_ae")


@pytest.fixture(scope="session")
def files(conv_ae, tmp_path_factory):
    """The same detector in both formats, with a reconstruction and a map in the ONNX file."""
    from kdcompress.exporting.export import export
    from tests.exporting.detectors import inputs

    folder = tmp_path_factory.mktemp("exported")
    export(conv_ae, folder / "a.onnx", "onnx", inputs(conv_ae), ("reconstruction", "anomaly_map"))
    export(conv_ae, folder / "a.pt2", "pt2", inputs(conv_ae))
    return {"onnx": folder / "a.onnx", "pt2": folder / "a.pt2"}


@pytest.fixture(scope="session")
def eight(conv_ae, tmp_path_factory):
    """The same detector with its layers in eight bits."""
    from kdcompress.exporting.export import export
    from tests.exporting.detectors import with_normals

    path = tmp_path_factory.mktemp("eight") / "a.int8.onnx"
    export(conv_ae, path, "int8", with_normals(conv_ae))
    return path
