"""Trainings in the background, by id: they outlive browser tabs, crashes and the app itself.

Each one runs in a worker process, which imports torch before there is a job for it. Records on disk
restore jobs, charts and names after a restart. Nothing here imports gradio or torch.
"""

from transfer.jobs.finished_runs import DeletedRun, ListedRun
from transfer.jobs.job import ENDED, LIVE, Job
from transfer.jobs.limits import JobLimits
from transfer.jobs.manager import JobManager
from transfer.jobs.process import WORKER, Worker

__all__ = [
    "ENDED",
    "LIVE",
    "WORKER",
    "DeletedRun",
    "Job",
    "JobLimits",
    "JobManager",
    "ListedRun",
    "Worker",
]
