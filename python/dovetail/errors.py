# SPDX-License-Identifier: Apache-2.0
"""The one exception of the package: one sentence that says what, where, expected and got."""


class DovetailError(Exception):
    """A failure that the user can act on; the command line prints it without a traceback."""
