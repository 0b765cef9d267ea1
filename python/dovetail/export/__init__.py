# SPDX-License-Identifier: Apache-2.0
"""Export of checkpoints to model packages."""

from .options import ExportOptions
from .package import ExportResult, export

__all__ = ["ExportOptions", "ExportResult", "export"]
