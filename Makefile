# Each target makes .venv and installs what it needs; PYTHON=python3.12 chooses another interpreter (3.11 to 3.13).
# CONSTRAINTS=constraints.txt installs the versions that BENCHMARKS.md was measured with in place of the newest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OLDEST := .venv-oldest
INSTALL := install --disable-pip-version-check --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
PEOPLE := .venv-people
AUDIT := .venv-audit
AUDIT_SERVICE ?= pypi
REMOTE := .venv-remote
S3_TOOLS := s3fs 'moto[s3]>=5.0' flask flask-cors
# MediaPipe 0.10.21, the last that brings its networks along, has no wheel for Python 3.13 and needs NumPy below 2.
PEOPLE_PYTHON ?= $(shell for p in $(PYTHON) python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
# What it imports, without what it only lists: JAX, SciPy, a sound library, sentencepiece.
PEOPLE_TOOLS := 'numpy<2' absl-py attrs flatbuffers 'protobuf>=4.25.3,<5' matplotlib 'opencv-python-headless<4.12'
PYTEST := -m pytest -q -n logical --maxprocesses 4 --dist loadfile
export OMP_WAIT_POLICY := PASSIVE

.PHONY: help setup demo page gpu people-tools faults fuzz test test-slow test-remote test-oldest lint docs clean pinned audit hashes

help:
	@echo "make demo         train on the built-in street and write a video: runs/demo (about 10 minutes on 2 cores)"
	@echo "make page         the demo in the browser, at http://127.0.0.1:7860; make demo first where it was not made"
	@echo "make test         run the tests without the slow and the GPU ones; COVERAGE=1 (half as long again): what they reach"
	@echo "make test-slow    run the slow ones: kills, long videos, compilers (at most 25 minutes on 2 cores)"
	@echo "make faults       kill runs and do to them what machines do, hundreds of times: docs/reliability.md"
	@echo "make test-oldest  run the tests with the oldest versions that pyproject.toml allows, in $(OLDEST)"
	@echo "make test-remote  run the tests of data at addresses, against an S3 of their own: tools in $(REMOTE) (130 MB)"
	@echo "make gpu          on a machine with a card: its tests, speeds, real training, exact resuming: runs/gpu (8 minutes)"
	@echo "make people-tools MediaPipe in an environment of its own, for prepare.py people: $(PEOPLE) (1 minute, 400 MB)"
	@echo "make fuzz         20,000 damaged and hostile files for every reader, by two engines: hours; docs/fuzzing.json"
	@echo "make lint         ruff and pyright"
	@echo "make docs         draw the architecture anew, from the imports: docs/architecture.svg"
	@echo "make audit        known vulnerabilities and the hashes of the versions in constraints.txt (1 minute)"
	@echo "make hashes       write constraints.hashes anew, after a change of constraints.txt"
	@echo "make setup        only install into $(VENV); CONSTRAINTS=constraints.txt: the versions of BENCHMARKS.md"
	@echo "make clean        remove environments and caches; runs/ stays"

setup: $(VENV)/core.stamp $(if $(CONSTRAINTS),pinned)

demo: $(VENV)/core.stamp
	$(BIN)/python scripts/demo.py

page: $(VENV)/page.stamp
	@ls runs/demo/checkpoints/step-*/meta.json >/dev/null 2>&1 || $(BIN)/python scripts/demo.py
	$(BIN)/python scripts/app.py run=runs/demo

gpu: $(VENV)/dev.stamp
	$(BIN)/python scripts/gpu.py

people-tools: $(PEOPLE)/tools.stamp

test: $(VENV)/dev.stamp
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python $(PYTEST) -m "not slow and not gpu" \
		$(if $(COVERAGE),--cov --cov-report=term) $(TESTS)

test-slow: $(VENV)/dev.stamp
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python $(PYTEST) -m "slow and not gpu" --durations=10 $(TESTS)

fuzz: $(VENV)/dev.stamp
	$(BIN)/pip $(INSTALL) --no-deps atheris
	$(BIN)/python -m tests.fuzz --record

faults: $(VENV)/dev.stamp
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m tests.faults

test-remote: $(REMOTE)/tools.stamp
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} PYTHONPATH=$(REMOTE) $(BIN)/python -m pytest -q \
		tests/trainer/data/remote tests/vit/data/sources/test_addresses.py $(TESTS)

test-oldest: $(OLDEST)/dev.stamp
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(OLDEST)/bin/python $(PYTEST) -m "not slow and not gpu" $(TESTS)
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(OLDEST)/bin/python $(PYTEST) tests/trainer/parallel/test_shards.py

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/dev.stamp
	$(BIN)/python -m tests.helpers.drawing

# pip-audit has no place in the environment that it looks at. It asks PyPI, or OSV with AUDIT_SERVICE=osv.
audit: $(AUDIT)/tools.stamp
	$(AUDIT)/bin/python tests/helpers/audit.py check
	$(AUDIT)/bin/pip-audit --requirement constraints.hashes --require-hashes --disable-pip --strict \
		--progress-spinner off --vulnerability-service $(AUDIT_SERVICE)

hashes:
	$(PYTHON) tests/helpers/audit.py write

$(AUDIT)/tools.stamp:
	@test -x $(AUDIT)/bin/pip || { echo "making $(AUDIT)"; $(PYTHON) -m venv $(AUDIT); }
	$(AUDIT)/bin/pip install --disable-pip-version-check --quiet 'pip-audit>=2.10'
	@touch $@

# A stamp is newer than pyproject.toml when everything that it lists is installed.
$(VENV)/core.stamp: pyproject.toml
	@test -x $(BIN)/pip || { echo "making $(VENV)"; rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }
	@echo "installing vivid and what it needs (torch is large: 1 to 5 minutes)"
	$(BIN)/pip $(INSTALL) --editable .
	@touch $@

$(VENV)/page.stamp: $(VENV)/core.stamp
	$(BIN)/pip $(INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/core.stamp
	$(BIN)/pip $(INSTALL) --editable '.[dev]'
	@touch $@

pinned: $(VENV)/core.stamp
	$(BIN)/pip $(INSTALL) --editable .

$(OLDEST)/dev.stamp: pyproject.toml tests/helpers/oldest.py
	@test -x $(OLDEST)/bin/pip || { echo "making $(OLDEST)"; rm -rf $(OLDEST); $(PYTHON) -m venv $(OLDEST); }
	@echo "installing the oldest versions that pyproject.toml allows (torch is large: 1 to 5 minutes)"
	$(PYTHON) tests/helpers/oldest.py > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/pip install --disable-pip-version-check --quiet --constraint $(OLDEST)/constraints.txt \
		--editable '.[dev,eval]'
	@touch $@

# Beside the environment, not in it: botocore wants an older dateutil than matplotlib brings.
$(REMOTE)/tools.stamp: $(VENV)/dev.stamp
	@echo "installing s3fs and moto into $(REMOTE) (130 MB)"
	$(BIN)/pip install --disable-pip-version-check --quiet --upgrade --target $(REMOTE) $(S3_TOOLS)
	@touch $@

$(PEOPLE)/tools.stamp:
	@test -n "$(PEOPLE_PYTHON)" || { echo "needs Python 3.9 to 3.12 (MediaPipe 0.10.21 has no wheel for others): \
install one, or name it: make people-tools PEOPLE_PYTHON=PATH"; exit 2; }
	@test -x $(PEOPLE)/bin/pip || { echo "making $(PEOPLE) with $(PEOPLE_PYTHON)"; $(PEOPLE_PYTHON) -m venv $(PEOPLE); }
	@echo "installing MediaPipe and what it imports"
	$(PEOPLE)/bin/pip install --disable-pip-version-check --quiet $(PEOPLE_TOOLS)
	$(PEOPLE)/bin/pip install --disable-pip-version-check --quiet --no-deps mediapipe==0.10.21
	$(PEOPLE)/bin/python -W ignore -c 'import mediapipe'
	@touch $@

clean:
	rm -rf $(VENV) $(OLDEST) $(PEOPLE) $(AUDIT) $(REMOTE) .pytest_cache .ruff_cache .hypothesis .coverage htmlcov build *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)*' -prune -exec rm -rf {} +
