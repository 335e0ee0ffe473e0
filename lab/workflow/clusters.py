# SPDX-License-Identifier: GPL-2.0-or-later
"""A run's cluster: the one of its record, reached with the TLS files of this process's environment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from lab import log
from lab.cluster.address import Tls
from lab.cluster.cluster import Cluster, opened_cluster
from lab.cluster.link import Link, Slot, connected
from lab.cluster.versions import own_versions, with_qemu
from lab.guest.prepare import Bench
from lab.results.models import Clock
from lab.results.runfolder import RunFolder


def tls_of_environment() -> Tls | None:
    """$LAB_TLS_CA, $LAB_TLS_CERT and $LAB_TLS_KEY. UserError if only some are set."""
    ca, cert, key = (
        Path(os.environ[name]) if os.environ.get(name) else None
        for name in ("LAB_TLS_CA", "LAB_TLS_CERT", "LAB_TLS_KEY")
    )
    return Tls.of(ca, cert, key)


def look_at_cluster(bench: Bench, run: RunFolder) -> None:
    """InfraError as `cluster_of`."""
    with _linked(bench, run):
        pass


@contextlib.contextmanager
def _linked(bench: Bench, run: RunFolder) -> Iterator[tuple[Link, list[Slot]]]:
    """The run's scheduler, and the workers that it has now."""
    with connected(run.read().scheduler, with_qemu(own_versions(), bench.qemu), tls_of_environment()) as link:
        yield link, link.check()


@contextlib.contextmanager
def cluster_of(bench: Bench, run: RunFolder) -> Iterator[Cluster]:
    """The workers at the run's scheduler. InfraError if it does not answer, or if a worker is of another
    version than this lab."""
    with _linked(bench, run) as (link, slots):
        hosts = {slot.host for slot in slots}
        log.info(f"cluster {link.address}: {len(slots)} workers on {len(hosts)} hosts")
        with opened_cluster(link, real_hosts(run)) as cluster:
            yield cluster


def real_hosts(run: RunFolder) -> dict[tuple[str, str], str]:
    """Where the run's trials on the real clock were: those that it lacks must be run there as well."""
    trials, _ = run.readable_trials()
    return {
        (trial.case, trial.machine): trial.environment.host
        for trial in trials
        if trial.clock is Clock.REAL and trial.environment is not None and trial.environment.host
    }
