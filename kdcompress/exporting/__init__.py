"""Detectors as files that run without this package, and the gate that they pass first."""

from __future__ import annotations

FORMATS = {"onnx": ".onnx", "pt2": ".pt2", "int8": ".int8.onnx"}
"""The formats, as users name them, and how the names of their files end."""

ENDINGS = (".onnx", ".pt2")
"""What tells an exported file from a bundle; int8 files are ONNX files."""
