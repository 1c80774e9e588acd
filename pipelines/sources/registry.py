"""The sources by name: those of this package, those of installed packages, and those a program registers.

A source of this package is a folder here and a line in `_BUILT_IN`. Another package brings one by an entry point of
group ``flux4d_street.sources``, whose name is the source's and which leads to a `Source`; Dask workers find it too.
`register` is for tests and scripts: it holds for this process alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module, metadata
from pathlib import Path

from pipelines.sources.base import LogError
from pipelines.sources.source import Source, subfolders

AUTO = "auto"
"""Stands for the one source whose logs lie under the root."""
GROUP = "flux4d_street.sources"
"""Entry-point group of other packages' sources."""
_BUILT_IN: Mapping[str, str] = {
    "pandaset": "pipelines.sources.pandaset.source:SOURCE",
}
_REGISTERED: dict[str, Source] = {}


def register(source: Source) -> None:
    """Make a source known in this process.

    Raises:
        ValueError: another source has that name.
    """
    if source.name in _BUILT_IN or _REGISTERED.get(source.name, source) is not source:
        raise ValueError(f"there is a source {source.name!r} already: take another name")
    _REGISTERED[source.name] = source


def unregister(name: str) -> None:
    """Forget a source that `register` made known.

    Raises:
        KeyError: there is none of that name.
    """
    del _REGISTERED[name]


def is_of_this_process(name: str) -> bool:
    """Whether a source was registered here, so that other processes do not know it."""
    return name in _REGISTERED


def source_names() -> tuple[str, ...]:
    """Names of all sources, sorted."""
    return tuple(sorted({*_BUILT_IN, *_REGISTERED, *(point.name for point in _entry_points())}))


def get_source(name: str) -> Source:
    """The source of a name.

    Raises:
        ValueError: there is none, or its package is broken; says which there are.
    """
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        source: Source = getattr(import_module(module), attribute)
        return source
    if name in _REGISTERED:
        return _REGISTERED[name]
    points = [point for point in _entry_points() if point.name == name]
    if not points:
        known = ", ".join(source_names())
        raise ValueError(f"there is no source {name!r}, only {known}: take one of these, or install what brings it")
    if len(points) > 1:
        raise ValueError(f"several packages bring a source {name!r} ({_places(points)}): keep one of them installed")
    return _load(points[0])


def resolve_source(name: str, root: Path, only: Iterable[str] | None = None) -> Source:
    """The source that is meant.

    Args:
        name: of a source; `AUTO` for the one whose logs lie under `root`.
        root: folder of the logs.
        only: look at these logs alone.

    Raises:
        ValueError: no such source; and for `AUTO`, no source or several know the folders under `root`, or `root` is no
            folder.
    """
    if name != AUTO:
        return get_source(name)
    entries = subfolders(root)
    sources = [get_source(name) for name in source_names()]
    if any(source.is_log(root) for source in sources):
        raise ValueError(f"{root} is itself a log; give the folder that holds it: {root.absolute().parent}")
    chosen = set(only) if only else None
    looked_at = [path for path in entries if chosen is None or path.name in chosen] or entries
    fitting = {source.name: names for source in sources if (names := [p.name for p in looked_at if source.is_log(p)])}
    # A link that leads nowhere could be a log of any source; what is there decides.
    there = {path.name for path in looked_at if path.exists()}
    sure = {name: names for name, names in fitting.items() if there.intersection(names)} or fitting
    if not sure:
        known = "; ".join(f"{source.name}: {source.description}" for source in sources)
        raise ValueError(f"{root} holds no logs of a known source ({known}); give another --root, or say --source")
    if len(sure) > 1:
        found = "; ".join(f"{name}: {', '.join(names[:3])}" for name, names in sure.items())
        raise ValueError(f"{root} holds what could be logs of several sources ({found}): say which with --source")
    return next(source for source in sources if source.name in sure)


def source_of_log(name: str, path: Path) -> Source:
    """The source of one log; `AUTO` takes the one that knows the folder.

    Raises:
        ValueError: no such source, or several know the folder.
        LogError: none knows it.
    """
    if name != AUTO:
        return get_source(name)
    sources = [get_source(name) for name in source_names()]
    fitting = [source for source in sources if source.is_log(path)]
    if not fitting:
        known = "; ".join(f"{source.name}: {source.description}" for source in sources)
        reason = f"is no log of a known source ({known}); give the folder of one log, or say --source"
        raise LogError(path.absolute().name, reason, file=path)
    if len(fitting) > 1:
        raise ValueError(f"{path} could be a log of {', '.join(one.name for one in fitting)}: say which with --source")
    return fitting[0]


def _entry_points() -> list[metadata.EntryPoint]:
    """Other packages' sources; a name of this package's own stays this package's."""
    found = {(point.name, point.value): point for point in metadata.entry_points(group=GROUP)}
    return [point for point in found.values() if point.name not in _BUILT_IN]


def _load(point: metadata.EntryPoint) -> Source:
    try:
        source = point.load()
    # Whatever another package raises when it is imported.
    except Exception as error:
        raise ValueError(f"source {point.name!r} ({_places([point])}) cannot be loaded: {error!r}; mend it") from error
    if not isinstance(source, Source) or source.name != point.name:
        raise ValueError(f"entry point {point.name!r} ({_places([point])}) must lead to a Source of that name: mend it")
    return source


def _places(points: Iterable[metadata.EntryPoint]) -> str:
    return ", ".join(f"{point.value} of {point.dist.name if point.dist else 'an unknown package'}" for point in points)
