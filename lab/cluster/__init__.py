# SPDX-License-Identifier: GPL-2.0-or-later
"""Trials on other machines: a scheduler and workers of dask.distributed, and the campaign's end of them."""
