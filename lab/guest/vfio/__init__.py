# SPDX-License-Identifier: GPL-2.0-or-later
"""Giving a host's PCI device to a guest, and getting it back, whatever happens in between."""
