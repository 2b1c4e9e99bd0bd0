# Everything that is done to this project has a name here; a bare `make` lists the names.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first Python of 3.11 or later, unless PYTHON names one.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

# Where `make generate` writes; a test writes elsewhere and compares.
OUT ?= libs
DESCRIPTORS ?= services/gateway/http/descriptors.binpb
# What the contracts were when they were last promised; see `make record`.
RECORD := tests/tidy/record.binpb

.PHONY: help
help: ## List these targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: venv
venv: $(STAMP) ## Make .venv with everything in requirements.lock.

# A virtual environment that is there is completed, not made anew. pip's warnings are only warnings.
$(STAMP): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then echo "make: Python 3.11 or later is needed (or set PYTHON)" >&2; exit 1; fi
	@if [ ! -x $(BIN)/python ]; then $(PYTHON) -m venv $(VENV) \
		|| { echo "make: $(PYTHON) cannot make virtual environments; install its venv package" >&2; exit 1; }; fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: run
run: venv ## Run the whole suite here, with a database of its own in $LOYALTY_HOME (.loyalty).
	@exec $(BIN)/python -m services --with-parent

.PHONY: demo
demo: venv ## Two years of a program in a minute, in a suite of its own; ends with a member's story.
	@exec $(BIN)/python -m services.demo

.PHONY: test
test: venv ## Run all tests. TESTS='path …' runs some, ARGS='…' is handed to pytest.
	@exec $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS) $(TESTS)

.PHONY: test-long
test-long: prove ## The long proofs, then the whole file of purchases that CDNOW_CSV names.
	@CDNOW_EVERY=1 exec $(BIN)/python -m pytest -s --timeout 3600 $(ARGS) tests/journeys/test_cdnow.py

# What `make test` looks at for a minute, for an hour or two; each prints its figures and its seed.
PROOFS ?= tests/properties tests/faults/test_ledger_kills.py tests/faults/test_ledger_races.py \
	tests/faults/test_traps_processes.py tests/planted

.PHONY: prove
prove: venv ## The ledger's long proofs: 200,000 steps beside the model, 120 kills, all planted bugs.
	@HYPOTHESIS_PROFILE=long exec $(BIN)/python -m pytest -n 2 --dist worksteal -rA --timeout 10800 $(ARGS) $(PROOFS)

.PHONY: check
check: venv ## Lint, types, imports and contracts; no tests.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code --path protos/loyalty
	$(BIN)/buf breaking --against $(RECORD)

.PHONY: format
format: venv ## Format the code and the contracts, and mend what the linter can.
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/buf format --write --path protos/loyalty

.PHONY: generate
generate: venv ## Write the stubs and the gateway's descriptors from protos/.
	@mkdir -p $(OUT) $(dir $(DESCRIPTORS))
	$(BIN)/python -m grpc_tools.protoc --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
		--plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc --proto_path=protos \
		--python_out=$(OUT) --mypy_out=quiet:$(OUT) --grpc_python_out=$(OUT) --mypy_grpc_out=quiet:$(OUT) \
		$$(cd protos && find loyalty -name '*.proto' | sort)
	$(BIN)/python -m grpc_tools.protoc --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy --proto_path=protos \
		--python_out=$(OUT) --mypy_out=quiet:$(OUT) buf/validate/validate.proto
	$(BIN)/python -m grpc_tools.protoc --proto_path=protos --include_imports --include_source_info \
		--descriptor_set_out=$(DESCRIPTORS) $$(cd protos && find loyalty -name '*.proto' | sort)

.PHONY: record
record: venv ## Promise the contracts as they are now: later ones may not break them.
	$(BIN)/buf build --exclude-source-info -o $(RECORD)

.PHONY: lock
lock: venv ## Write requirements.lock, and the image's, from pyproject.toml. ARGS=--upgrade moves what is pinned.
	$(BIN)/uv pip compile pyproject.toml --extra server --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --quiet $(ARGS) -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra server --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --no-annotate --quiet -c requirements.lock \
		-o deploy/requirements.lock

.PHONY: bench
bench: venv ## Measure this machine; writes docs/benchmarks.md.
	@exec $(BIN)/python -m tests.load.bench $(ARGS)

.PHONY: wheel
wheel: venv ## Build the wheel that callers install into dist/.
	$(BIN)/python -m hatchling build -t wheel

.PHONY: clean
clean: ## Remove what can be made again; the data of `make run` stays.
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
