# SPDX-License-Identifier: GPL-2.0-or-later
"""A bisection while it runs: its search, its log, and the boots between them. All of it follows from the run
folder, so a killed one goes on where it was."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from lab import log
from lab.bisect.history import History
from lab.bisect.judge import Ends, Yardstick, is_void, yardstick
from lab.bisect.log import check_conditions, event_line, head_line, parse_log
from lab.bisect.noisy import Posterior
from lab.bisect.search import Costs, Search
from lab.campaign.execute import run_campaign
from lab.campaign.executor import Elsewhere
from lab.campaign.plan import planned_trial
from lab.errors import Interrupted, LabError, SeriesError, UserError
from lab.files import write_whole
from lab.guest.prepare import Bench
from lab.host import cpus
from lab.kernel.kernel import Kernel
from lab.results.bisect import LOG_NAME, BisectRecord, Event, Same, Seen, Skipped, read_bisect, seen_of
from lab.results.models import Clock, Outcome, PlannedTrial
from lab.results.runfolder import RunFolder
from lab.workflow.bisect_kernels import Kernels
from lab.workflow.campaigns import open_campaign

FAILED_IN_A_ROW = 4
"""Kernels that could not be had one after the other, though none failed to build: then it is the mirror, or
the disk."""


class Bisecting:
    """One bisection at work."""

    def __init__(self, bench: Bench, run: RunFolder, host: Elsewhere, kernels: Kernels) -> None:
        self._bench, self._host, self.kernels = bench, host, kernels
        self.run = run
        self.record: BisectRecord = read_bisect(run)
        self.nodes = self.record.nodes
        self.question = self.record.question
        self.at = {node.role: position for position, node in enumerate(self.nodes)}
        self.history = History(
            [node.parents for node in self.nodes],
            suspects=[node.suspect for node in self.nodes],
            find_fix=self.question.find_fix,
        )
        self.events: list[Event] = self._read_log()
        self._better = run.read().cases[self.question.case].metrics
        self._failed = 0
        self.booting_seconds = 0.0
        self._rounds = 0
        self._take_finished()
        self._forget_unfinished()

    # ---- the log

    def _read_log(self) -> list[Event]:
        path = self.run.path / LOG_NAME
        text = path.read_text() if path.exists() else ""
        _, events = parse_log(text, name=str(path))
        told = {role for event in events for role in (event.role, getattr(event, "other", event.role))}
        if strange := sorted(told - self.at.keys()):
            raise UserError(f"{path} tells of {strange[0]}, which is not in the history that is searched")
        # Written anew: the last line may be cut off.
        write_whole(path, head_line(self.record) + "".join(map(event_line, events)))
        return events

    def note(self, event: Event) -> None:
        """Keep what was learned; on the disk when this returns. UserError if it does not go with the rest."""
        if isinstance(event, Seen):
            check_conditions(self.events, event, name=self.run.path.name)
        with (self.run.path / LOG_NAME).open("a") as out:
            out.write(event_line(event))
            out.flush()
            os.fsync(out.fileno())
        self.events.append(event)

    def _take_finished(self) -> None:
        """Trials that ended just before a kill: they are in the run folder, and not yet in the log."""
        known = {event.key for event in self.events if isinstance(event, Seen)}
        planned = {trial.key for trial in self.run.read().plan}
        for trial in self.run.readable_trials()[0]:
            if trial.key in planned and trial.key not in known and trial.role in self.at:
                self.note(seen_of(trial, self.question.metric))

    def _forget_unfinished(self) -> None:
        """Boots that a kill cut off: the search asks again for what it needs."""
        known = {event.key for event in self.events if isinstance(event, Seen)}
        record = self.run.read()
        ended = tuple(trial for trial in record.plan if trial.key in known)
        self.run.write(record.model_copy(update={"plan": ended, "finished": False, "verdict": None}))

    # ---- what follows from it

    def seen(self, position: int) -> list[Seen]:
        """The boots of one kernel."""
        role = self.nodes[position].role
        return [event for event in self.events if isinstance(event, Seen) and event.role == role]

    @property
    def ends(self) -> Ends:
        good, bad = self.history.good_end, self.history.bad_end
        return Ends(self.nodes[good].name, self.nodes[bad].name, self.seen(good), self.seen(bad))

    def yardstick(self) -> Yardstick | None:
        """What counts as bad, from the boots of both ends."""
        metric = self._better.get(self.question.metric)
        return yardstick(self.question, self.ends, metric.better if metric else "lower")

    def failed_bad_end(self) -> bool:
        """Has the bad end failed in a boot, in whatever way? By a metric only both ends can tell."""
        boots = self.seen(self.history.bad_end)
        return bool(self.question.metric) or any(seen.outcome is not Outcome.PASS for seen in boots)

    @property
    def exact(self) -> bool:
        """Is one boot of a kernel proof of how it does?"""
        boots = [event for event in self.events if isinstance(event, Seen) and not is_void(event)]
        return self.question.always or (bool(boots) and all(seen.exact for seen in boots))

    def search(self, stick: Yardstick) -> Search:
        """All that was seen, as a search."""
        certain = self.certain(stick)
        two_sided = bool(stick.metric) and not self.exact
        posterior = Posterior(self.history, certain=certain, two_sided=two_sided)
        search = Search(self.history, self.question.error, posterior)
        search.skipped |= {n: node.lost for n, node in enumerate(self.nodes) if node.lost}
        for position in range(self.history.size):
            self._take(search, stick, position)
        for event in self.events:
            if isinstance(event, Same):
                posterior.same(self.at[event.role], self.at[event.other])
                search.skipped[self.at[event.role]] = f"the same bytes as {event.other}"
            elif isinstance(event, Skipped):
                search.skipped[self.at[event.role]] = event.why
        return search

    def certain(self, stick: Yardstick) -> bool:
        """Is one boot proof, and did no kernel show the failure in one boot and not in another?"""
        if not self.exact:
            return False
        found = [{stick.says(seen)[0] for seen in self.seen(n)} - {"skip"} for n in range(self.history.size)]
        return all(len(words) <= 1 for words in found)

    def _take(self, search: Search, stick: Yardstick, position: int) -> None:
        said = [stick.says(seen) for seen in self.seen(position) if not is_void(seen)]
        words = [word for word, _ in said]
        shown, passed = words.count("bad"), words.count("good")
        if shown or passed:
            search.posterior.note(position, shown=shown, passed=passed)
        # More than two boots of three that say nothing, as syzkaller counts.
        if 3 * words.count("skip") > 2 * len(words):
            search.skipped[position] = next(why for word, why in said if word == "skip")

    def costs(self) -> Costs:
        """What boots and kernels have taken so far."""
        took = self.kernels.seconds
        return Costs(
            boot=self.booting_seconds / self._rounds if self._rounds else Costs.boot,
            obtain=sum(took) / len(took) if took else Costs.obtain,
            at_hand=self.kernels.at_hand(),
            slots=self.slots,
        )

    @property
    def slots(self) -> int:
        """Boots of one kernel at once."""
        return 1 if self.exact or self.question.clock is Clock.REAL else cpus()

    # ---- doing

    def obtained(self, position: int) -> Kernel | None:
        """The kernel; None, and a word in the log, if it cannot be had or is one that was there before."""
        node = self.nodes[position]
        try:
            kernel = self.kernels.get(position)
        except Interrupted:
            raise
        except LabError as error:
            self._failed += 0 if isinstance(error, SeriesError) or "not build" in error.message else 1
            if self._failed >= FAILED_IN_A_ROW or "no room" in error.message or "no space" in error.message:
                raise
            self.note(Skipped(role=node.role, why=error.message[:400]))
            log.info(f"{node.name}: skipped: {error.message}")
            return None
        self._failed = 0
        return kernel

    def twin(self, position: int, kernel: Kernel) -> str:
        """The role of a kernel of the same bytes that was booted before; "" if there is none."""
        record, known = self.run.read(), self.run.kernels()
        for role, id_ in record.kernels.items():
            other = known.get(id_) if role in self.at and self.at[role] != position else None
            if other is not None and same_bytes(other.build_id, id_, kernel):
                return role
        return ""

    def boot(self, position: int, kernel: Kernel, boots: int, ahead: Sequence[int] = ()) -> None:
        """Boot a kernel some more times; meanwhile obtain what may be wanted next."""
        more = self._more(position, boots)
        self._plan(position, more)
        if self.question.clock is not Clock.REAL:  # nothing may disturb a measurement
            self.kernels.ahead(ahead)
        kept = self.run.read().kernels
        role = self.nodes[position].role
        campaign = open_campaign(self._bench, self.run, {role: kernel}, self._host)
        self.run.write(self.run.read().model_copy(update={"kernels": {**kept, role: kernel.record.id}}))
        started = time.monotonic()
        run_campaign(campaign, more)
        self.booting_seconds += time.monotonic() - started
        self._rounds += 1
        self._take_finished()

    def _more(self, position: int, boots: int) -> list[PlannedTrial]:
        """Further trials of a kernel, under names that none has yet."""
        asked, role, plan = self.question, self.nodes[position].role, self.run.read().plan
        number = max((trial.number for trial in plan), default=0)
        repeat = max((trial.repeat for trial in plan if trial.role == role), default=0)
        return [
            planned_trial(number + n, asked.case, role, asked.machine, asked.clock, repeat + n)
            for n in range(1, boots + 1)
        ]

    def _plan(self, position: int, more: Sequence[PlannedTrial]) -> None:
        node, record = self.nodes[position], self.run.read()
        subjects = {**record.subjects, node.role: node.subject}
        self.run.write(record.model_copy(update={"plan": (*record.plan, *more), "subjects": subjects}))


def same_bytes(build_id: str, id_: str, kernel: Kernel) -> bool:
    """Is it the same kernel? A build id leaves out what a configuration says and does not change."""
    own = kernel.record
    return build_id == own.build_id if build_id and own.build_id else id_ == own.id
