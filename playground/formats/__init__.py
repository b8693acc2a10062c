"""Formats: how files become a model. Importing this package registers them all, ours first."""

from playground.formats import own as own  # isort: skip
from playground.formats import pixels as pixels  # isort: skip
from playground.formats import codecs as codecs  # isort: skip
from playground.formats import pythae as pythae  # isort: skip
from playground.formats import latents as latents  # isort: skip
from playground.formats.base import FORMATS, Files, Format, Found, find_format, recognise

__all__ = ["FORMATS", "Files", "Format", "Found", "find_format", "recognise"]
