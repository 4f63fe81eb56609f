"""Tasks: what a family is asked to learn, and what its samples are asked for.

A task turns a split of a dataset into `Examples`: for training (x, condition) pairs, for sampling
a fixed list of questions, of which sample i answers number i, whatever the batch size or the rank
that draws it. A name is `KIND` or `KIND:ARGUMENT`: "caption", "paired:outline", "low_res:4".
"""

from genbench.tasks.examples import Examples, to_float
from genbench.tasks.task import Task, asked, example, names, task

__all__ = [
    "Examples",
    "Task",
    "asked",
    "example",
    "names",
    "task",
    "to_float",
]
