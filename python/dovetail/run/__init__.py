# SPDX-License-Identifier: Apache-2.0
"""The Python side of `dovetail-run --engine tensorrt` and `tensorrt-rtx` (docs/tensorrt.md).

dovetail-run starts `launch` and talks to it over its standard input and output; session, sampler
and token bookkeeping stay in C++. Not meant to be called by hand.
"""
