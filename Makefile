# The commands of the project. `make help` lists them.
#
# Everything is installed by the ordinary clients (apt, cargo, pip in a venv, npm)
# the first time it is needed; nothing is assumed to be there but rustup's Rust.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTEST_ARGS ?=
PYTEST_WORKERS ?= 2

.PHONY: help quickstart quickstart-down setup build build-test test test-rust test-python test-slow test-redo test-azure simulate lint bench bench-redo docs fuzz clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 20

quickstart: ## Install, build, start a local cluster, load it, branch it, and show both histories
	@scripts/quickstart.sh up

quickstart-down: ## Stop the quickstart cluster; DESTROY=1 also removes its data
	@scripts/quickstart.sh down

setup: ## Install what building and testing needs
	@scripts/setup.sh all

build: ## Build the release binaries (no failpoints)
	@scripts/setup.sh base
	cargo build --release --locked --bins

build-test: ## Build the test binaries (with failpoints)
	@scripts/setup.sh base
	cargo build --locked --bins --features pageserver/testing,safekeeper/testing

test: ## Set up, then run all tests: Rust and pytest
	@scripts/test.sh

test-rust: ## Run the Rust tests only
	@scripts/test.sh rust

test-python: ## Run the pytest suite only; PYTEST_ARGS="-k branch" selects
	@PYTEST_ARGS="$(PYTEST_ARGS)" PYTEST_WORKERS="$(PYTEST_WORKERS)" scripts/test.sh python

test-slow: ## The pytest cases that take minutes (LEDGER_SECONDS=600), all other tests left out
	@PYTEST_ARGS="-m slow $(PYTEST_ARGS)" PYTEST_WORKERS="$(PYTEST_WORKERS)" scripts/test.sh python

test-redo: ## Redo against PostgreSQL's own regression SQL and standbys (ORACLE_MAJORS="15 16 17 18"; a quarter to half an hour)
	@scripts/test_redo.sh

test-azure: ## The suite of remote storage against Azurite, a server for Azure's protocol
	@scripts/test_azure.sh

simulate: ## Simulate the consensus: SIM_SCHEDULES (200000) schedules, a hundredth of them on the real storage code; explore small systems whole
	SIM_SCHEDULES=$${SIM_SCHEDULES:-200000} cargo test --release --locked -p wal_quorum simulation
	cargo test --release --locked -p wal_quorum model -- --include-ignored --nocapture
	SIM_SCHEDULES=$$(( $${SIM_SCHEDULES:-200000} / 100 )) cargo test --release --locked -p safekeeper --test simulation -- --include-ignored

lint: ## Formatting, clippy, dependency policy and the house rules
	@scripts/lint.sh

bench: ## Benchmarks: commit path against stock PostgreSQL, start, branch and ingest
	@scripts/bench.sh

bench-redo: ## Benchmarks of redo and ingest, and the WAL that page images cost
	@scripts/bench_redo.sh

docs: ## Build the book in docs/ (needs mdbook)
	mdbook build docs

fuzz: ## Run fuzz targets (FUZZ_TARGETS, FUZZ_JOBS) for FUZZ_SECONDS (60) each; FUZZ_MAJORS="15 18" seeds them from servers
	@scripts/fuzz.sh

clean: ## Remove build products and test output
	cargo clean
	rm -rf test_output .venv
