"""Trainings in the background, by id, that outlive tabs, crashes and the app itself.

Each runs in a worker process that is warm before it is needed; records on disk bring jobs, charts
and names back after a restart. Knows neither gradio nor torch.
"""

from transfer.jobs.finished_runs import ListedRun
from transfer.jobs.job import ENDED, LIVE, Job, begins_to_learn
from transfer.jobs.limits import JobLimits
from transfer.jobs.manager import JobManager
from transfer.jobs.process import WORKER, Worker

__all__ = [
    "ENDED",
    "LIVE",
    "WORKER",
    "Job",
    "JobLimits",
    "JobManager",
    "ListedRun",
    "Worker",
    "begins_to_learn",
]
