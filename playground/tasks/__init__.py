"""The tasks, one a file. Importing this package registers them all, in the order the page shows them."""

from playground.tasks import sample as sample  # isort: skip
from playground.tasks import traverse as traverse  # isort: skip
from playground.tasks import interpolate as interpolate  # isort: skip
from playground.tasks import reconstruct as reconstruct  # isort: skip
from playground.tasks import inside as inside  # isort: skip
from playground.tasks import map as map  # isort: skip
from playground.tasks import decode as decode  # isort: skip
from playground.tasks.base import TASKS, Bench, Sheet, Task, find_task

__all__ = ["TASKS", "Bench", "Sheet", "Task", "find_task"]
