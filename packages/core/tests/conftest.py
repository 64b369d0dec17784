"""What the tests of training and of the command line share."""

import sys
from pathlib import Path

# Recipes name the small classes of these tests by module, in this process and in others.
sys.path.insert(0, str(Path(__file__).parent / "toys"))
