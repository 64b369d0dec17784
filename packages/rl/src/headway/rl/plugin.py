"""What the rl domain offers to the ``headway`` program; imports nothing heavy."""

from headway.core.plugins import Domain

domain = Domain(name="rl", help="Decision and behaviour transformers; models come later.")
