# `make` lists the targets. Every target that needs Python first brings .venv up to date (deploy/setup.py).
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# Where bytecode is not kept, every process compiles all its imports anew: 2 s of each start, and the tests start many.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help setup run test test-cluster lint fmt contracts revision alarms bench bench-cluster bench-ingest bench-peers bench-rebuild fault kafka cluster cluster-docker lock clean

help: ## this list
	@echo 'closeloop: make TARGET [PYTHON=/path/to/python3.11] [ARGS="more options for the tool"]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  %-14s %s\n' "$$name" "$$text"; done

setup: ## install everything into .tools and .venv (all targets do it by themselves)
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { echo 'closeloop needs Python 3.11 or newer; $(PYTHON) was not found. Install it or run: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@PYTHONPATH= "$(PYTHON)" -S deploy/setup.py

run: setup ## start closeloop on this machine, with demo data; Ctrl-C stops it
	@exec $(BIN)/closeloop up --demo $(ARGS)

test: setup ## import rules and the whole test suite; ARGS="-k name tests/unit" narrows it
	@$(BIN)/lint-imports
	@$(BIN)/pytest -n 4 --dist loadgroup $(ARGS)

test-cluster: setup ## the tests that need three Kafka brokers (Java 17 and Maven)
	@CLUSTER=1 REQUIRE_KAFKA=1 $(BIN)/pytest tests/integration/cluster $(ARGS)

lint: setup ## ruff, formatting, mypy, import rules; changes nothing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fmt: setup ## format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

contracts: setup ## write the JSON Schemas, the AsyncAPI document and .env.example anew from the code
	@$(BIN)/python -m shared.contracts.generate $(ARGS)
	@$(BIN)/python -m deploy.env_example

revision: setup ## new migration: make revision SERVICE=scoring M="add windows"
	@test -n "$(SERVICE)" && test -n "$(M)" || { echo 'usage: make revision SERVICE=scoring M="what changes"' >&2; exit 2; }
	@$(BIN)/alembic -n "$(SERVICE)" revision --autogenerate -m "$(M)"

bench-ingest: setup ## what a signed webhook costs to ingest beside a bare ASGI app, FastAPI and a Go program, and what an import does (Java 17, Maven, Go)
	@$(BIN)/python -m tests.load.ingest $(ARGS)

bench-peers: setup ## closeloop's scoring beside Kafka Streams, Bytewax, Quix Streams and Faust on one broker (Java 17 with javac, Maven); ARGS="--events 1000000 --only faust"
	@$(BIN)/python -m tests.load.peers $(ARGS)

bench-rebuild: setup ## other rules over five million answers under live traffic, and a restart; ARGS="--answers 10000000"
	@$(BIN)/python -m tests.load.rebuild $(ARGS)

alarms: setup ## how often an alert is false and a real drop is caught, simulated; ARGS="--series 500 --seed 2"
	@$(BIN)/python -m tests.load.alarms $(ARGS)

bench: setup ## measure throughput and latency on this machine
	@$(BIN)/python -m tests.load.bench $(ARGS)

bench-cluster: setup ## the same for the cluster: three Kafka brokers, two ingest processes (Java 17 and Maven)
	@$(BIN)/python -m tests.load.bench_cluster $(ARGS)

fault: setup ## break a cluster, check every promise: make fault SEED=1 PROFILE=ci ONLY=P1,P3 (15 min, Java 17, Maven)
	@exec $(BIN)/python -m tests.fault $(if $(SEED),--seed $(SEED)) $(if $(PROFILE),--profile $(PROFILE)) $(if $(ONLY),--only $(ONLY)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(RATE),--rate $(RATE)) $(if $(UNFENCED),--unfenced) $(ARGS)

kafka: setup ## start an Apache Kafka broker without Docker (needs Java 17 and Maven); Ctrl-C stops it
	@exec $(BIN)/python deploy/kafka/broker.py $(ARGS)

cluster: setup ## the cluster on this machine, no Docker: make cluster BROKERS=3 INGEST=2 SCORING=3 DEMO=0
	@exec $(BIN)/python -m deploy.cluster $(ARGS)

cluster-docker: ## the same cluster with Docker; needs SECRETS_KEY and SMTP_HOST
	@docker compose version >/dev/null 2>&1 || { echo 'make cluster-docker needs `docker compose`, which does not work here; `make cluster` needs no Docker' >&2; exit 1; }
	@echo 'make cluster-docker runs: docker compose up --build'
	@exec docker compose up --build $(ARGS)

lock: setup ## resolve the newest allowed versions into requirements.lock
	@PYTHONPATH= "$(PYTHON)" -S deploy/setup.py --lock

clean: ## remove .venv, .tools and caches; the data folder stays (make clean DATA=1 removes .data too)
	@rm -rf .venv .tools .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
	@find services shared deploy tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
	@if [ -n "$(DATA)" ]; then rm -rf .data; echo 'removed .venv, .tools, caches and the data folder .data'; \
	else echo 'removed .venv, .tools and caches; kept the data folder .data (make clean DATA=1 removes it)'; fi
