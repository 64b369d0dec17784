"""What a policy is worth."""

from headway.rl.metrics.evaluation import Episode, evaluate, summarise

__all__ = ["Episode", "evaluate", "summarise"]
