# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a scheduler is, how to reach it, and who may be trusted there (TLS)."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import UserError

PORT = 8786
"""dask's own default."""

_ADDRESS = re.compile(r"(?:(tcp|tls)://)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")


@dataclass(frozen=True)
class Tls:
    """Files in PEM format: the authority that signed every certificate of the cluster, and our own."""

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def of(cls, ca: Path | None, cert: Path | None, key: Path | None) -> Tls | None:
        """From options: all three, or none. UserError for some, or for a file that cannot be read."""
        if ca is None and cert is None and key is None:
            return None
        if ca is None or cert is None or key is None:
            raise UserError("TLS takes all of --tls-ca, --tls-cert and --tls-key", hint="docs/cluster.md")
        for path in (ca, cert, key):
            try:
                path.open("rb").close()
            except OSError as error:
                raise UserError(f"cannot read {path}: {error.strerror}", hint="docs/cluster.md") from error
        return cls(ca, cert, key)

    def security(self) -> Any:
        """The same certificate in every role: who holds one may be client, worker and scheduler."""
        from distributed import Security

        roles = {f"tls_{role}_cert": str(self.cert) for role in ("client", "scheduler", "worker")}
        roles |= {f"tls_{role}_key": str(self.key) for role in ("client", "scheduler", "worker")}
        return Security(require_encryption=True, tls_ca_file=str(self.ca), **roles)


def scheduler_address(text: str, *, tls: bool) -> str:
    """`tcp://host:port` or `tls://host:port` of what a person typed. UserError if it is none, or if its
    protocol is not the one that is to be spoken."""
    found = _ADDRESS.fullmatch(text.strip())
    if not found or int(found[3] or PORT) not in range(1, 65536):
        raise UserError(f"{text!r:.120} is no scheduler's address", hint="such as tcp://10.0.0.1:8786")
    protocol = "tls" if tls else "tcp"
    if found[1] is not None and found[1] != protocol:
        need = "--tls-ca, --tls-cert and --tls-key" if found[1] == "tls" else "an address tls://..."
        raise UserError(f"{text} and the TLS files do not fit together: {need} is missing")
    return f"{protocol}://{found[2]}:{found[3] or PORT}"


def check_scheduler(text: str) -> None:
    """UserError if this cannot be a scheduler's address, or if none was given."""
    if not text:
        raise UserError(
            "--executor dask needs a scheduler", hint="--scheduler tcp://10.0.0.1:8786 or $LAB_SCHEDULER"
        )
    scheduler_address(text, tls=text.strip().startswith("tls://"))


def own_address(scheduler: str) -> str:
    """The address of this host by which it reaches the scheduler: nothing listens on any other.

    Nothing is sent: connecting a datagram socket only asks the kernel for the route.
    """
    host, port = scheduler.partition("://")[2].rsplit(":", 1)
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(place)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise UserError(
            f"no way to {scheduler}: {error.strerror or error}", hint="is the host's name right?"
        ) from error


def is_loopback(host: str) -> bool:
    """Can nobody but this host reach it?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
