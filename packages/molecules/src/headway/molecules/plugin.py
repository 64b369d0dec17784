"""What the molecules domain offers to the ``headway`` program; imports nothing heavy."""

from headway.core.plugins import Domain

domain = Domain(name="molecules", help="Generators and property prediction; models come later.")
