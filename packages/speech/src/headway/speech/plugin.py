"""What the speech domain offers to the ``headway`` program; imports nothing heavy."""

from headway.core.plugins import Domain

domain = Domain(name="speech", help="Recognition and synthesis; models come later.")
