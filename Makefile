# Everything runs in a virtual environment of the project's own; the first target that needs it makes it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check docs bench faults slow ray clean

demo: $(READY)  ## train, forget a person, audit, sign, verify: the whole story in a minute
	@$(BIN)/expunge demo --out demo-out

test: check  ## style, types, import rule, and the default tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile  # two workers with two threads each stand in each other's way

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(READY)  ## write the generated pages anew
	$(BIN)/python -m expunge.cli.reference docs

bench: $(READY)  ## speed as ratios within one run
	$(BIN)/python benchmarks/stacked_training.py
	$(BIN)/python benchmarks/shadows.py
	$(BIN)/python benchmarks/receipts.py
	$(BIN)/python benchmarks/valuation.py
	$(BIN)/python benchmarks/curvature.py
	$(BIN)/python benchmarks/certified_size.py
	$(BIN)/python benchmarks/empirical.py
	$(BIN)/python benchmarks/screening.py

faults: $(READY)  ## every fault at every system call of every transition
	$(BIN)/python tests/faults/run.py

slow: $(READY)  ## studies and fault runs at full size
	$(BIN)/python -m pytest -m slow

ray: $(READY)  ## the executor on a local Ray cluster of two workers
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,ray]'
	$(BIN)/python -m pytest -m ray

$(READY): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo-out build
