"""Many seeds on many processes: of this computer, or of a Dask cluster.

A worker checks one seed at a time. One that dies or hangs is a finding like any other: the parent
says with which seed. The first finding ends the campaign; what runs with smaller seeds is waited
for, so that the smallest of those that were found is the one that is told.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from ...errors import TcgliteError, UsageError
from .check import Outcome, Settings, check_seed

Say = Callable[[str], None]
Work = Callable[[int, Settings], Outcome]

#: Seconds beyond what a check allows itself: then the worker hangs.
PATIENCE = 60.0
#: Seeds per process, after which it is replaced: the libraries of oracles do not free everything.
LIFETIME = 1000
_PERIOD = 0.5
_CONNECT = 10.0  # seconds to find a cluster in


@dataclass(slots=True)
class Campaign:
    """What came of it. ``found``: the finding with the smallest seed, if there was one;
    ``compared``: programs in which something was compared, by oracle; ``skipped``: why not."""

    done: int = 0
    insns: int = 0
    seconds: float = 0.0
    found: Outcome | None = None
    compared: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Count one in."""
        self.done += 1
        self.insns += max((r.insns for r in outcome.reports), default=0)
        self.compared.update(r.oracle for r in outcome.reports if r.counts)
        self.skipped |= {r.oracle: r.skipped for r in outcome.reports if r.skipped}
        first = self.found is None or (outcome.seed or 0) < (self.found.seed or 0)
        if not outcome.ok and first:
            self.found = outcome


def guarded(work: Work, seed: int, settings: Settings, limit: float) -> Outcome:
    """``work``, in a process that ends with a traceback if that takes too long, whoever holds
    Python's lock."""
    faulthandler.dump_traceback_later(limit, exit=True)
    try:
        return work(seed, settings)
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def processes(jobs: int) -> Iterator[Executor]:
    """Fresh processes: this one may have threads, which do not survive a fork. They end with what
    they are for: with this block, with SIGTERM, and when this process is killed."""
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_end_with_parent)
    with _terminable():
        try:
            yield pool
        except BaseException:
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """In a worker: no longer than the process that started it."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the process as an exception does, with all that is to be tidied up."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def cluster(address: str) -> Iterator[tuple[Executor, int]]:
    """The workers of a Dask scheduler, and how many seeds they can have in hand."""
    try:
        from distributed import Client
    except ImportError:
        raise TcgliteError("--dask needs distributed: pip install 'tcglite[dask]'") from None
    try:
        client = Client(address, timeout=_CONNECT)
    except (OSError, ValueError) as error:
        raise UsageError(f"--dask {address}: {error}") from None
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise UsageError(f"--dask {address}: this cluster has no workers")
        yield client.get_executor(pure=False), threads


def run_campaign(
    seeds: range, settings: Settings, jobs: int | None = None, *, dask: str | None = None,
    say: Say | None = None, work: Work = check_seed, patience: float = PATIENCE,
) -> Campaign:  # fmt: skip
    """Check ``seeds``. jobs: processes here; None: as many as there are processors. dask: address
    of a scheduler, to use its workers instead. say: hears of progress. work: what to do with a
    seed."""
    limit = settings.timeout * (1 + len(settings.against)) + patience
    if dask is not None:
        with cluster(dask) as (executor, hands):
            run = _Run(executor, 2 * hands, settings, work, None, limit + patience, say, Campaign())
            return run.all(seeds, len(seeds), time.monotonic())
    jobs = jobs or os.cpu_count() or 1
    campaign = Campaign()
    began = time.monotonic()
    for first in range(0, len(seeds), jobs * LIFETIME):
        part = seeds[first : first + jobs * LIFETIME]
        with processes(min(jobs, len(part))) as pool:
            run = _Run(pool, 2 * jobs, settings, work, limit, 2 * (limit + patience), say, campaign)
            run.all(part, len(seeds), began)
        if run.lost:
            campaign.found = _who_died(run.lost, settings, work, limit)
        if campaign.found is not None:
            break
    return campaign


class _Run:
    """``window``: seeds handed out at a time; ``limit``: seconds after which a worker ends itself,
    None where that would end others too; ``deaf``: seconds without any result at all."""

    def __init__(
        self, executor: Executor, window: int, settings: Settings, work: Work,
        limit: float | None, deaf: float, say: Say | None, campaign: Campaign,
    ) -> None:  # fmt: skip
        self.executor, self.window, self.settings = executor, window, settings
        self.work, self.limit, self.deaf, self.say = work, limit, deaf, say
        self.campaign = campaign
        self.lost: list[int] = []  # one of them ended its process

    def _submit(self, seed: int) -> Future[Outcome]:
        try:
            if self.limit is None:
                return self.executor.submit(self.work, seed, self.settings)
            return self.executor.submit(guarded, self.work, seed, self.settings, self.limit)
        except BrokenProcessPool as error:  # by another seed, a moment ago
            future: Future[Outcome] = Future()
            future.set_exception(error)
            return future

    def all(self, seeds: range, count: int, began: float) -> Campaign:
        """Until all are done or one finds something. ``count`` seeds in all, since ``began``."""
        campaign = self.campaign
        waiting, left = {}, iter(seeds)
        heard = said = time.monotonic()
        while not self.lost:
            if campaign.found is None:
                for seed in left:
                    waiting[self._submit(seed)] = seed
                    if len(waiting) >= self.window:
                        break
            else:
                waiting = {f: n for f, n in waiting.items() if n < (campaign.found.seed or 0)}
            if not waiting:
                break
            done, _ = wait(waiting, _PERIOD, FIRST_COMPLETED)
            now = time.monotonic()
            for future in sorted(done, key=lambda f: waiting[f]):
                self._take(future, waiting.pop(future), list(waiting.values()))
            heard = now if done else heard
            if now - heard > self.deaf:
                seed = min(waiting.values())
                campaign.add(Outcome(seed, error=f"no result for {self.deaf:.0f} s: it hangs"))
                break
            if self.say is not None and now - said > _PERIOD:
                said = now
                self.say(_progress(campaign.done, count, now - began))
        for future in waiting:
            future.cancel()
        campaign.seconds = time.monotonic() - began
        return campaign

    def _take(self, future: Future[Outcome], seed: int, others: list[int]) -> None:
        try:
            outcome = future.result()
        except TcgliteError:
            raise
        except BrokenProcessPool:
            self.lost = self.lost or sorted([seed, *others])
        except Exception as error:  # a worker of the cluster died with it, or what it says is lost
            self.campaign.add(Outcome(seed, error=f"its worker failed: {error!r}"))
        else:
            self.campaign.add(outcome)


def _progress(done: int, count: int, seconds: float) -> str:
    rate = done / seconds
    left = f", {(count - done) / rate:.0f} s left" if done else ""
    return f"{done:,} of {count:,} programs, {rate:.1f} a second{left}"


def _who_died(seeds: list[int], settings: Settings, work: Work, limit: float) -> Outcome:
    """One of these ended its process, by a crash or because it hung: each again, alone."""
    for seed in seeds:
        with processes(1) as pool:
            try:
                outcome = pool.submit(guarded, work, seed, settings, limit).result()
            except BrokenProcessPool:
                return Outcome(seed, error="it ends its process: a crash, or it hangs (see above)")
        if not outcome.ok:
            return outcome
    return Outcome(
        seeds[0], error=f"one of seeds {', '.join(map(str, seeds))} ended its process, but none "
        "does so again",
    )  # fmt: skip
