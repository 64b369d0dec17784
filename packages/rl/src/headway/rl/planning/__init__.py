"""Planning problems: what they are, how they are searched, written down and judged; needs numpy alone."""

from headway.rl.planning.astar import Search, Step, astar
from headway.rl.planning.judging import Planned, judge, mean_lengths
from headway.rl.planning.problem import MOVES, Node, Problem, moved
from headway.rl.planning.problems import Problems
from headway.rl.planning.tokens import END, PADDING, START, SearchTokens, Written

__all__ = [
    "END",
    "MOVES",
    "PADDING",
    "START",
    "Node",
    "Planned",
    "Problem",
    "Problems",
    "Search",
    "SearchTokens",
    "Step",
    "Written",
    "astar",
    "judge",
    "mean_lengths",
    "moved",
]
