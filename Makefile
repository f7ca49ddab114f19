# make demo   train matched pairs on handwritten digits and write a report
# make test   lint, types and tests
# make test-slow, make reliability   what takes longer: minutes; faults and inputs by the thousand
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-slow reliability lint types clean

# One thread a worker: a second one makes these small networks no faster, and results depend on it.
demo: $(INSTALLED)
	@OMP_NUM_THREADS=1 $(BIN)/resnet-lab sweep sweeps/demo_digits.yaml --workers 2
	@$(BIN)/resnet-lab report runs/demo_digits --out report/demo_digits

test: lint types
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

reliability: $(INSTALLED)
	$(BIN)/python benchmarks/faults.py
	$(BIN)/python benchmarks/bad_input.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11: give a newer one with make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV), once: torch and its libraries are some gigabytes"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) report .mypy_cache .pytest_cache .ruff_cache
