# SPDX-License-Identifier: Apache-2.0
"""What a golden was recorded with, for its golden.json."""

import platform

import torch
import transformers


def versions() -> dict[str, str]:
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "arithmetic": "fp32, eager attention, one thread",
    }
