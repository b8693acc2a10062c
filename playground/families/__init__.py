"""The families of generative models, one a file. Importing this package registers them all."""

from playground.families import autoencoder as autoencoder  # isort: skip
from playground.families import vae as vae  # isort: skip
from playground.families import gan as gan  # isort: skip
from playground.families import flow as flow  # isort: skip
from playground.families import tarflow as tarflow  # isort: skip
from playground.families import diffusion as diffusion  # isort: skip
from playground.families.base import FAMILIES, Model, find_family

__all__ = ["FAMILIES", "Model", "find_family"]
