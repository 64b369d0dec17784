"""What the demos share: a command as a user types it, announced before it runs."""

from headway.core.cli import main as headway


def step(*words: str) -> int:
    """Runs one command."""
    say(f"headway {' '.join(words)}")
    return headway(list(words))


def say(text: str) -> None:
    """Announces what comes."""
    print(f"\n== {text}", flush=True)
