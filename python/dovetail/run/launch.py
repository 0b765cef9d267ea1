# SPDX-License-Identifier: Apache-2.0
"""Becomes the process that runs an engine, with what its TensorRT needs in the environment.

    python -m dovetail.run.launch tensorrt-rtx
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from ..build import process
from ..errors import DovetailError

COMMAND = [sys.executable, "-m", "dovetail.run.child"]


def main(engine: str) -> None:
    try:
        tensorrt = process.find(engine)
        folder = tempfile.mkdtemp(prefix="dovetail-run-") if tensorrt.link else ""
        environment = process.environment(tensorrt, Path(folder)) | {"DOVETAIL_LINKS": folder}
    except DovetailError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return
    os.execve(COMMAND[0], [*COMMAND, tensorrt.module], environment)


if __name__ == "__main__":
    main(sys.argv[1])
