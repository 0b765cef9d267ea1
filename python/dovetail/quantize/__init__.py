# SPDX-License-Identifier: Apache-2.0
"""INT4 quantization of checkpoints."""

from .run import ModuleError, QuantizeOptions, Report, quantize

__all__ = ["ModuleError", "QuantizeOptions", "Report", "quantize"]
