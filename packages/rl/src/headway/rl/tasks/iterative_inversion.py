"""Learning to bring about what is wanted, from what came about."""

from headway.core.systems import system
from headway.rl.data import Trajectory
from headway.rl.data.hindsight import hindsight
from headway.rl.tasks.trying import Trying


@system(
    id=167,
    name="Iterative Inversion",
    paper="https://arxiv.org/abs/2211.01724",
    claim="an inverse that is learned on what its own tries have brought about reaches what is wanted, "
    "where one of random tries alone does not; no rewards, no demonstrated actions",
    test="packages/rl/tests/test_iterative_inversion.py",
)
class IterativeInversion(Trying):
    """Learns which actions bring about what is wanted, from its own tries.

    The environment shows what is wanted (``desired_goal``: a place, or a path of them) and what is reached
    (``achieved_goal``). Before every epoch but the first the model plays ``rollouts`` episodes, asked for
    what the environment wants, with noise; in hindsight their goals are what they have reached; and the model
    imitates the newest ``keep`` episodes. The data begin with random play (``headway.rl.data.RandomPlay``
    with ``relabel``), and rewards are not looked at.

    See ``Trying`` for the arguments.

    Note:
        The authors embed a video of what is wanted by a VQ-VAE; here it is read as the space says (numbers or
        a picture).

    Source:
        Leibovich et al. 2022, https://arxiv.org/abs/2211.01724, algorithm 1.
    """

    def relabel(self, played: Trajectory) -> Trajectory:
        """Returns an episode whose goal is what it has reached."""
        return hindsight(played)
