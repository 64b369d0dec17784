"""What a policy is worth."""

from headway.rl.metrics.evaluation import Episode, evaluate, summarise
from headway.rl.metrics.intervals import bootstrap_interval, interquartile_mean
from headway.rl.metrics.scores import REFERENCES, normalised_score, task_of

__all__ = [
    "REFERENCES",
    "Episode",
    "bootstrap_interval",
    "evaluate",
    "interquartile_mean",
    "normalised_score",
    "summarise",
    "task_of",
]
