# Each target makes .venv and installs what it needs; PYTHON=python3.12 chooses another interpreter (3.11 to 3.13).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_WAIT_POLICY := PASSIVE

.PHONY: help setup demo test lint clean

help:
	@echo "make demo   train on the built-in street and write a video: runs/demo (about 10 minutes on 2 cores)"
	@echo "make test   run the tests without the slow and the GPU ones, with coverage"
	@echo "make lint   ruff and pyright"
	@echo "make setup  only install into $(VENV)"
	@echo "make clean  remove $(VENV) and caches; runs/ stays"

setup: $(VENV)/core.stamp

demo: $(VENV)/core.stamp
	$(BIN)/python scripts/demo.py

test: $(VENV)/dev.stamp
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -q -m "not slow and not gpu" \
		-n logical --maxprocesses 4 --dist loadfile --cov --cov-report=term $(TESTS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# A stamp is newer than pyproject.toml when everything that it lists is installed.
$(VENV)/core.stamp: pyproject.toml
	@test -x $(BIN)/pip || { echo "making $(VENV)"; rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }
	@echo "installing vivid and what it needs (torch is large: 1 to 5 minutes)"
	$(BIN)/pip install --disable-pip-version-check --quiet --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/core.stamp
	$(BIN)/pip install --disable-pip-version-check --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .coverage htmlcov build *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
