"""DART: a world of words, and a policy that reads them."""

from headway.rl.models.dart.model import DART

__all__ = ["DART"]
