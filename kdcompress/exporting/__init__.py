"""Detectors as files that run without this package, and the gate that they pass first."""

from __future__ import annotations

ENDINGS = {"onnx": ".onnx", "pt2": ".pt2"}
"""The formats, as users name them, and how the names of their files end."""
