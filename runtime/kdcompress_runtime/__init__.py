"""Run an anomaly detector that kdcompress exported, with numpy and onnxruntime only.

A higher score is more anomalous; a decision is 0 for normal, 1 for an anomaly.
"""

from kdcompress_runtime.detector import Detector
from kdcompress_runtime.errors import DetectorError, FileError, InputError, ScoreError, SelfTestError

__version__ = "0.1.0"
__all__ = ["Detector", "DetectorError", "FileError", "InputError", "ScoreError", "SelfTestError", "__version__"]
