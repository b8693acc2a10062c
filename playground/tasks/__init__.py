"""The tasks, one a file. Importing this package registers them all, in the order the page shows them."""

from playground.tasks import sample as sample  # isort: skip
from playground.tasks import traverse as traverse  # isort: skip
from playground.tasks import interpolate as interpolate  # isort: skip
from playground.tasks import reconstruct as reconstruct  # isort: skip
from playground.tasks import inside as inside  # isort: skip
from playground.tasks import rate as rate  # isort: skip
from playground.tasks import aggregate as aggregate  # isort: skip
from playground.tasks import compress as compress  # isort: skip
from playground.tasks import denoise as denoise  # isort: skip
from playground.tasks import anomaly as anomaly  # isort: skip
from playground.tasks import holes as holes  # isort: skip
from playground.tasks import arithmetic as arithmetic  # isort: skip
from playground.tasks import neighbours as neighbours  # isort: skip
from playground.tasks import lens as lens  # isort: skip
from playground.tasks import style as style  # isort: skip
from playground.tasks import directions as directions  # isort: skip
from playground.tasks import noise as noise  # isort: skip
from playground.tasks import critic as critic  # isort: skip
from playground.tasks import collapse as collapse  # isort: skip
from playground.tasks import density as density  # isort: skip
from playground.tasks import steps as steps  # isort: skip
from playground.tasks import complete as complete  # isort: skip
from playground.tasks import trajectory as trajectory  # isort: skip
from playground.tasks import schedulers as schedulers  # isort: skip
from playground.tasks import noising as noising  # isort: skip
from playground.tasks import inpaint as inpaint  # isort: skip
from playground.tasks import variation as variation  # isort: skip
from playground.tasks import edit as edit  # isort: skip
from playground.tasks import quality as quality  # isort: skip
from playground.tasks import vary as vary  # isort: skip
from playground.tasks import map as map  # isort: skip
from playground.tasks import decode as decode  # isort: skip
from playground.tasks.base import TASKS, Bench, Sheet, Task, find_task

__all__ = ["TASKS", "Bench", "Sheet", "Task", "find_task"]
