# SPDX-License-Identifier: GPL-2.0-or-later
"""Searching a history for the change that did it: pure, from observations alone."""
