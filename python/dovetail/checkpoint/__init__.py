# SPDX-License-Identifier: Apache-2.0
"""Reading and writing checkpoints: config.json, safetensors, compressed-tensors int4."""

from .config import Config
from .folder import Checkpoint
from .safetensors_file import SafetensorsFile

__all__ = ["Checkpoint", "Config", "SafetensorsFile"]
