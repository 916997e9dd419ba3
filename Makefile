# Everything a fresh machine needs is Python 3.11+, make and git: `make demo`, `make test`.
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
TRAIN := $(VENV)/.installed-train
RAY := .venv-ray

.PHONY: demo test test-all check test-nojit test-train test-gymnasium test-ray validate bench experiments profiles gif clean help

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(PY):
	python3 -m venv $(VENV)

$(STAMP): $(PY) pyproject.toml constraints.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $(STAMP)

$(DEV): $(STAMP)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(DEV)

$(TRAIN): $(DEV)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,train,data,onnx]"
	@touch $(TRAIN)

demo: $(STAMP) ## install, run ten policies on four kinds of traffic, print the quick leaderboard and where its page is
	$(VENV)/bin/llmqgym leaderboard --suite quick

test: $(DEV) check ## static checks and the test suite
	$(PY) -m pytest -q -n 2 -m "not slow"

test-all: $(TRAIN) check test-nojit test-gymnasium test-ray ## the same with the slow tests, those that train, on Ray, and without JIT
	$(PY) -m pytest -q -n 2 --hypothesis-profile=thorough

test-nojit: $(DEV) ## the whole suite in plain Python, slow
	NUMBA_DISABLE_JIT=1 $(PY) -m pytest -q -n 2 -m "not slow" --hypothesis-profile=nojit

test-train: $(TRAIN) ## what needs torch: Stable-Baselines3, the agents and the examples
	$(PY) -m pytest -q tests/env/test_sb3.py tests/test_examples.py tests/agents llmqgym/sb3.py agents

# Beside the pinned one, in environments of their own.
GYMNASIUMS := 1.1.1 1.2.2

$(VENV)/gymnasium-%/.installed: pyproject.toml constraints.txt
	python3 -m venv $(@D)
	grep -v '^gymnasium==' constraints.txt > $(@D)/constraints.txt
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c $(@D)/constraints.txt \
		gymnasium==$* -e ".[render]" pytest pytest-xdist hypothesis
	@touch $@

test-gymnasium: $(GYMNASIUMS:%=$(VENV)/gymnasium-%/.installed) ## the environment on older Gymnasiums
	for version in $(GYMNASIUMS); do $(VENV)/gymnasium-$$version/bin/python -m pytest -q -n 2 -m "not slow" \
		tests/env/test_env.py tests/env/test_vector.py tests/env/test_wrappers.py || exit 1; done

test-ray: ## the leaderboard and training runs on a local Ray cluster of two workers, in a venv of its own
	python3 -m venv $(RAY)
	$(RAY)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,cluster,train]"
	RAY_AUTH_MODE=disabled $(RAY)/bin/python -m pytest -q tests/leaderboard/test_ray.py tests/agents/test_ray.py

check: $(DEV) ## ruff, mypy --strict, import-linter
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

validate: $(STAMP) ## every proof again, some twenty minutes; the short form is part of `make test`
	$(VENV)/bin/llmqgym validate --markdown docs/validation.md

bench: $(STAMP) ## the kernel against its C twin, each policy's cost, runs of up to ten million requests
	$(VENV)/bin/llmqgym bench --markdown docs/results.md
	$(PY) benchmarks/policies.py --markdown docs/results.md
	$(PY) benchmarks/scale.py --markdown docs/results.md

experiments: $(STAMP) ## the studies of docs/results.md with their pictures, some ten minutes on two cores
	for name in fifo-srpt kv-capacity preemption-overhead misprediction-price certified-gap; do \
		$(VENV)/bin/llmqgym experiment $$name --markdown docs/results.md || exit 1; done

gif: $(DEV) ## draw docs/environment.gif, the environment's picture
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[plots,render]"
	$(PY) docs/make_gif.py

clean: ## remove what the other targets made
	rm -rf $(VENV) $(RAY) leaderboard-quick .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
