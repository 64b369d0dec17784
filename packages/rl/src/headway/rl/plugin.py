"""What the rl domain offers to the ``headway`` program; imports nothing heavy."""

from headway.core.plugins import Domain, Verb

domain = Domain(
    name="rl",
    help="Decision transformers and behaviour cloning on recorded trajectories.",
    adapters=(
        "headway.rl.weights.hugging_face:adapter",
        "headway.rl.weights.lerobot_act:adapter",
        "headway.rl.weights.lerobot_diffusion:adapter",
        "headway.rl.weights.lerobot_vq_bet:adapter",
    ),
    models=("headway.rl.models:list_models",),
    requires=("lightning", "gymnasium"),
    moves={"headway.rl.tasks.MazePlanning": "headway.rl.tasks.Planning"},
    verbs={
        "collect": Verb(
            module="headway.rl.verbs.collect",
            help="record episodes of a policy as a Minari data set",
        ),
        "rollout": Verb(
            module="headway.rl.verbs.rollout", help="play a policy: table, plot and video"
        ),
    },
)
