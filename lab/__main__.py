# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m lab` is the same program as `lab`."""

from lab.cli.main import main

main()
