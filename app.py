"""The page, as a Space or a container starts it: `python app.py`."""

from playground.settings import Settings
from playground.ui import serve

if __name__ == "__main__":
    serve(Settings.from_environment())
