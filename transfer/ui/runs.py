"""The finished runs that a visitor may use, and their classifiers."""

from functools import lru_cache
from pathlib import Path

from transfer.errors import JobError
from transfer.jobs import Jobs
from transfer.run_folder import Run, read_run


class Runs:
    """`shared` is a server with strangers on it: a run is its owner's alone."""

    def __init__(self, jobs: Jobs, *, shared: bool):
        self.jobs = jobs
        self.shared = shared

    def of(self, visitor: str) -> list[Path]:
        """The folders of the runs that this visitor may use, newest first."""
        if self.shared:
            own = [job.out for job in self.jobs.all_of(visitor) if job.state == "done"]
            return list(reversed(own))
        found = [path.parent for path in self.jobs.runs.glob("*/run.json")]
        return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)

    def own_path(self, visitor: str, name: str) -> Path:
        """The folder of one of the visitor's runs by name. Raises JobError."""
        if name not in [path.name for path in self.of(visitor)]:
            raise JobError("expected a finished run of yours, found none; choose another")
        return self.path(name)

    def path(self, name: str) -> Path:
        """The folder of a run by name; a name is never a way out of the folder of runs."""
        path = self.jobs.runs / Path(str(name)).name
        if not name or Path(name).name != name or not (path / "run.json").is_file():
            raise JobError("expected a finished run of this app, found none of that name")
        return path


@lru_cache(maxsize=4)
def classifier(path: Path):
    from transfer.classifier import load

    return load(path)


@lru_cache(maxsize=64)
def finished(path: Path) -> Run:
    return read_run(path)
