# SPDX-License-Identifier: GPL-2.0-or-later
"""One job on a worker, in a process of its own: `python -m lab.cluster.job FOLDER`.

The folder has the order and the files that it names; the answer is put beside them. The worker may end this
process at any moment: SIGTERM gives devices back, SIGKILL takes QEMU along (lab.proc).
"""

from __future__ import annotations

import pickle
import signal
import sys
from pathlib import Path

from lab import files
from lab.campaign.inside import NO, OK, carry_out
from lab.cluster.parts import Order, localized
from lab.cluster.turns import turn
from lab.errors import Interrupted, LabError
from lab.guest.prepare import Bench
from lab.guest.qemu import find_qemu
from lab.guest.vfio.hold import sweep as vfio_sweep
from lab.results.models import Clock
from lab.waiting import Deadline, stop_requested

ORDER, ANSWER, BEGUN = "order", "answer", "begun"

TURN_SECONDS = 4 * 3600.0
"""How long a job may wait for others on its host to end, so that it is alone or beside nobody who must be."""


def do(order: Order, folder: Path) -> bytes:
    """The verdict and the trial's folder as a parcel. Raises LabError."""
    vfio_sweep()
    qemu = find_qemu()
    alone = order.work.planned.clock is Clock.REAL
    with turn(alone=alone, deadline=Deadline("trials on the real clock run alone", TURN_SECONDS)):
        (folder / BEGUN).touch()
        # PID 1 has been compiled, and is in the initramfs.
        return carry_out(Bench(qemu, Path()), order.work, localized(order, folder, qemu.path))


def main(folder: Path) -> None:
    """Do the job of the folder."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop_requested.set())
    order = pickle.loads((folder / ORDER).read_bytes())  # noqa: S301 - from the worker that started us
    try:
        answer = OK + do(order, folder)
    except Interrupted:
        return
    except LabError as error:
        answer = NO + str(error).encode()
    files.write_whole(folder / ANSWER, answer)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
