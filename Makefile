# make demo   train matched pairs on handwritten digits and write a report
# make why    train the dose-response study on digits and report what follows the explosion rate
# make test   lint, types and tests
# make test-slow, make reliability   what takes longer: minutes; faults and inputs by the thousand
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# The project's own sources. Whatever else a user keeps here is neither linted nor checked.
TRACKED := $(wildcard $(shell git ls-files '*.py' 2>/dev/null))
SOURCES := $(or $(TRACKED),$(wildcard resnet_lab analysis benchmarks tests))
TYPED := $(filter resnet_lab% analysis%,$(SOURCES))

.PHONY: demo why test test-slow reliability lint types clean

# One thread a worker: a second one makes these small networks no faster, and results depend on it.
demo: $(INSTALLED)
	@OMP_NUM_THREADS=1 $(BIN)/resnet-lab sweep sweeps/demo_digits.yaml --workers 2
	@$(BIN)/resnet-lab report runs/demo_digits --out report/demo_digits

why: $(INSTALLED)
	@OMP_NUM_THREADS=1 $(BIN)/resnet-lab sweep sweeps/why_dose.yaml --workers 2
	@$(BIN)/resnet-lab report runs/why_dose --out report/why_dose

test: lint types
	$(BIN)/python -P -m pytest -c pyproject.toml -n 2 --dist worksteal

test-slow: $(INSTALLED)
	$(BIN)/python -P -m pytest -c pyproject.toml -m slow

reliability: $(INSTALLED)
	$(BIN)/python benchmarks/faults.py
	$(BIN)/python benchmarks/bad_input.py

lint: $(INSTALLED)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)

# Seen from a folder that holds the packages alone: a user's random.py here is no standard module.
types: $(INSTALLED)
	@mkdir -p .mypy_cache/sources
	@ln -sfn ../../resnet_lab ../../analysis .mypy_cache/sources/
	@cd .mypy_cache/sources && ../../$(BIN)/mypy --config-file ../../pyproject.toml \
		--cache-dir .. $(TYPED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11: give a newer one with make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV), once: torch and its libraries are some gigabytes"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) report .mypy_cache .pytest_cache .ruff_cache
