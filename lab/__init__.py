# SPDX-License-Identifier: GPL-2.0-or-later
"""faultlab: boots Linux kernels in QEMU guests and says with evidence which one is better."""

__version__ = "0.1.0"
