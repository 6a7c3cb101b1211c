"""Model compression for one-class anomaly detectors."""

from __future__ import annotations

__version__ = "0.1.0"
