"""Where build tasks run: in this process, on a local Dask cluster or on an existing one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
_MALLOC = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
_KEEP_BYTES = 256 << 20


class Runner(Protocol):
    """Runs one function over many argument lists; results come as they finish."""

    @property
    def description(self) -> str:
        """Where the work runs, for people."""
        ...

    def map(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[T]:
        """Results of ``function(*call)`` for every call."""
        ...


class InProcess:
    """Runs tasks one after the other, here: for tests and debugging."""

    description = "this process"

    def map(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[T]:
        """Results in order."""
        for call in calls:
            yield function(*call)


class OnDask:
    """Runs tasks on a Dask cluster."""

    def __init__(self, client: Any) -> None:
        self._client = client
        workers = len(client.scheduler_info(n_workers=-1)["workers"])
        self.description = f"{workers} Dask workers, dashboard {client.dashboard_link}"

    def map(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[T]:
        """Results as they finish; each is released at once, so that a lost worker repeats only its own task."""
        from distributed import KilledWorker, as_completed

        # pure=False: tasks have side effects and decide themselves what is already done.
        futures = [self._client.submit(function, *call, pure=False) for call in calls]
        queue = as_completed(futures)
        del futures
        for future in queue:
            try:
                yield future.result()
            except KilledWorker as error:
                raise RuntimeError(
                    f"workers died repeatedly ({error}), most likely for lack of memory: "
                    "give each more or take fewer --workers, then run flux4d-build resume STORE"
                ) from error


@contextmanager
def local_cluster(workers: int) -> Iterator[Any]:
    """A Dask cluster of `workers` processes of one thread each on this machine."""
    import dask
    from distributed import LocalCluster

    # Dask makes workers hand memory back at once, so that every frame faults its arrays in anew; and its profiler
    # stops each worker a hundred times a second.
    settings: dict[str, Any] = {f"distributed.nanny.pre-spawn-environ.{name}": _KEEP_BYTES for name in _MALLOC}
    with (
        dask.config.set({**settings, "distributed.worker.profile.enabled": False}),
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
    ):
        yield cluster


@contextmanager
def open_runner(workers: int, scheduler: str | None) -> Iterator[Runner]:
    """A runner for `workers` local processes (0: none) or the Dask scheduler at an address.

    Raises:
        ValueError: the scheduler cannot be reached.
    """
    if scheduler is None and workers == 0:
        yield InProcess()
        return
    from distributed import Client

    if scheduler is not None:
        try:
            client = Client(scheduler, timeout="5s")
        except OSError as error:
            raise ValueError(f"no Dask scheduler answers at {scheduler}: start one with `dask scheduler`") from error
        with client:
            yield OnDask(client)
        return
    with local_cluster(workers) as cluster, Client(cluster) as client:
        yield OnDask(client)
