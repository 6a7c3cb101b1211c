from tests.exporting.fixtures import conv_ae, files

__all__ = ["conv_ae", "files"]
