# SPDX-License-Identifier: Apache-2.0
"""`python -m dovetail` is the `dovetail` command."""

from .cli import main

main()
