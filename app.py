"""The page, as a Space or a container starts it: `python app.py`."""

from playground.settings import Settings, on_zero_gpu

if on_zero_gpu():
    import spaces  # noqa: F401  # before torch, whose CUDA it stands in for

from playground.ui import serve

if __name__ == "__main__":
    serve(Settings.from_environment())
