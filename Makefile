# make run, make test: all that a fresh Debian machine with Python 3.10 to 3.12 needs is set up on the way.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: load soak run test test-all serve check format lint types fast figures hints bench bench-gpu bench-loads train docker-check clean

run: .venv/.run
	$(BIN)/python app.py

test: .venv/.dev lint types
	sh tools/system_packages.sh chromium-headless-shell dataset-fashion-mnist
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

# With what takes long and needs Ray: an engine on a cluster of two nodes
test-all: test .venv/.serve
	$(BIN)/python -m pytest -m slow

# The engine alone, as replicas of Ray Serve on this machine; the page then runs with PLAYGROUND_ENGINE
serve: .venv/.serve
	@echo "The engine comes up on http://127.0.0.1:8000. Then: PLAYGROUND_ENGINE=http://127.0.0.1:8000 make run"
	RAY_USAGE_STATS_ENABLED=0 $(BIN)/serve run serve.yaml

check: format lint types fast

format: .venv/.dev
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev
	$(BIN)/mypy

fast: .venv/.dev
	$(BIN)/python -m pytest -m "not browser and not api and not slow" -x -q

# README's tables, from settings.py and from the metrics.json of every card
figures: .venv/.dev
	$(BIN)/python tools/write_readme.py

# Which files of Gradio's front end the page opens with; again when Gradio has changed
hints: .venv/.dev
	sh tools/system_packages.sh chromium
	$(BIN)/python -m tools.write_hints

bench: .venv/.bench
	sh tools/system_packages.sh chromium
	$(BIN)/python -m tools.bench

# The same on a graphics card: pictures a second, share of the card's rate, diffusers' pipelines
bench-gpu: .venv/.bench
	$(BIN)/python -m tools.bench.gpu

# Many visitors at once, and thousands of requests one after the other, on a page of their own
load: .venv/.dev
	$(BIN)/python -m tools.load

soak: .venv/.dev
	$(BIN)/python -m tools.load --soak

# How long a model takes to load, and how much memory, here and by others' loaders
bench-loads: .venv/.dev
	$(BIN)/python tools/bench_loads.py

# The whole zoo: MINUTES of wall clock in all, one card a core (on a GPU 25 are worth more than 480 here)
MINUTES ?= 480
train: .venv/.dev
	sh tools/system_packages.sh dataset-fashion-mnist
	$(BIN)/python -m playground train --all --minutes $(MINUTES)
	$(BIN)/python -m playground evaluate --all

docker-check:
	sh tools/system_packages.sh buildah debootstrap curl
	bash tools/check_dockerfile.sh

.venv/bin/python:
	$(PYTHON) -m venv .venv || { rm -rf .venv; sh tools/system_packages.sh python3-venv && $(PYTHON) -m venv .venv; }

.venv/.run: requirements.txt pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet -r requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

.venv/.serve: .venv/.run requirements-serve.txt
	$(BIN)/pip install --quiet -r requirements.txt -r requirements-serve.txt
	touch $@

.venv/.dev: .venv/.run requirements-train.txt requirements-dev.txt
	$(BIN)/pip install --quiet -r requirements.txt -r requirements-train.txt -r requirements-dev.txt
	touch $@

.venv/.bench: .venv/.dev requirements-bench.txt
	$(BIN)/pip install --quiet --no-deps -r requirements-bench.txt
	touch $@

clean:
	rm -rf .venv artifacts build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
