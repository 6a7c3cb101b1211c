"""Fixtures that several folders share."""

import pytest
import torch

from tests.exporting.fixtures import conv_ae, eight, files

__all__ = ["conv_ae", "eight", "files"]


@pytest.fixture(autouse=True)
def _hermetic(tmp_path_factory, monkeypatch):
    """One thread, a cache of its own, and the same global seed for every test."""
    monkeypatch.setenv("KDCOMPRESS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config, items):
    """Slow tests are skipped unless asked for, and say so."""
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))
