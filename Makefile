.DEFAULT_GOAL := help
# Makes .venv, and should be 3.11. Where python3 is another: `make setup PYTHON=python3.11`.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2
PYTEST = $(BIN)/pytest -n $(WORKERS)
ALLOW_SKIPS ?=
SKIPS = $(if $(ALLOW_SKIPS),,--expected-skips=tests/expected-skips)
# Else each worker, and each server that a test starts, compiles the same files again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: .venv/ready ## Prepare .venv from the hashed lock (CPU)

# Where torch's CPU build is: where pip is told to look for wheels, else PyTorch's own list of them.
FIND_TORCH = --find-links "$$($(BIN)/python -m pip config get global.find-links 2>/dev/null \
	|| echo "$${PIP_FIND_LINKS:-https://download.pytorch.org/whl/cpu/torch/}")"

# uv does what pip cannot: leave out a dependency. Bytecode is compiled now, once: importing vLLM without it takes half a
# minute.
.venv/ready: requirements-cpu.lock requirements-uv.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv (3.5 GB; under a minute with a warm cache) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@$(BIN)/uv pip install --no-deps --compile-bytecode --require-hashes $(FIND_TORCH) -r requirements-cpu.lock
	@$(BIN)/uv pip install --no-deps --editable .
	@touch $@

.PHONY: tools
tools: ## Install Prometheus, nginx and Chromium, which some tests use, from Debian's packages (as root)
	command -v promtool && command -v chromium && PATH="$$PATH:/usr/sbin" command -v nginx || \
		{ apt-get -q update && apt-get -q install -y --no-install-recommends prometheus nginx chromium; }

.PHONY: serve
serve: setup ## Serve the CPU demo on http://127.0.0.1:8000
	$(BIN)/psychechat serve --config demo-cpu

.PHONY: check
check: setup ## Run ruff and mypy (seconds; two minutes the first time)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: quick
quick: setup ## Run serving's tests that need neither torch nor an engine (a minute)
	$(PYTEST) --quick -m "not engine and not e2e" tests/serving

.PHONY: unit
unit: setup ## Run the tests that start no real engine and no server (three minutes)
	$(PYTEST) -m "not engine and not e2e"

.PHONY: engines
engines: setup ## Run the tests of real engines (five minutes)
	$(PYTEST) -m engine

.PHONY: e2e
e2e: setup ## Run the tests of the whole server (five minutes)
	$(PYTEST) -m e2e

# ALLOW_SKIPS=1 lets tests be skipped that tests/expected-skips does not name. Exit status 9: tests/support/again.py.
.PHONY: test
test: check ## Run every check, and every test but the long ones (15 to 20 minutes)
	@rm -f build/tests.xml build/again.xml
	$(PYTEST) --durations=60 --junitxml=build/tests.xml --again=build/again $(SKIPS) \
		|| { test $$? = 9 && xargs $(BIN)/pytest --junitxml=build/again.xml $(SKIPS) <build/again; }

.PHONY: long
long: setup ## Run what `make test` leaves out, at full length; note in tests/long-passed that it passed (1.5 hours)
	@mkdir -p build && git rev-parse HEAD >build/commit
	@git diff --quiet HEAD || { rm build/commit; echo "What is not committed is tested, but not noted as passed."; }
	$(PYTEST) --long -m "long or reads" --durations=20 --junitxml=build/long.xml
	@$(MAKE) --no-print-directory gate chaos overload tenants soak
	@test ! -e build/commit || cp build/commit tests/long-passed

.PHONY: chart
chart: setup ## Fetch Helm, check the chart without deploying it, and pack it into build/
	$(BIN)/python -m helm.fetch
	$(BIN)/pytest tests/helm -m "not e2e"
	@mkdir -p build
	"$$($(BIN)/python -m helm.fetch | head -n 1)" package helm --destination build

.PHONY: bench
bench: setup ## Measure speed beside what one would pick instead; writes docs/benchmarks.md (an hour)
	$(BIN)/python -m benchmarks.speed

.PHONY: clients
clients: setup ## Try other people's clients, and their examples; writes the table of docs/clients.md (a quarter of an hour)
	$(BIN)/python -m benchmarks.clients; tried=$$?; $(BIN)/python -m benchmarks.report && exit $$tried

.PHONY: hostile
hostile: setup ## Send 5,000 malformed and hostile requests (minutes)
	$(BIN)/python -m benchmarks.hostile

.PHONY: overload
overload: setup ## Ask for twice what the server can do, crises among it (25 minutes)
	$(BIN)/python -m benchmarks.overload

.PHONY: tenants
tenants: setup ## Let one key send dear bodies and crisis words; tell what others wait for it (10 minutes)
	$(BIN)/python -m benchmarks.tenants

.PHONY: soak
soak: setup ## Let seekers talk with the server for half an hour; watch and plot its memory
	$(BIN)/python -m benchmarks.soak

.PHONY: chaos
chaos: setup ## Kill nodes and replicas under traffic, and update them; tell what it costs (a quarter of an hour)
	$(BIN)/python -m benchmarks.chaos

.PHONY: cluster
cluster: setup ## Act out a release of the chart under traffic: change it, kill pods, drain a node (minutes; as root)
	$(BIN)/python -m benchmarks.cluster

.PHONY: gate
gate: setup ## Play seekers whom no counselor may fail to the demo: crises missed, not held, without help (minutes)
	$(BIN)/python -m benchmarks.gate

.PHONY: guard
guard: setup ## Measure what the output guard stops and lets pass (minutes; needs the data sets)
	$(BIN)/python -m benchmarks.guard

.PHONY: care
care: setup ## Measure how crises and those who are in none are answered (an hour; needs the data sets)
	$(BIN)/python -m benchmarks.care all

.PHONY: coherence
coherence: setup ## Ask the demo models twenty fixed messages a language and judge the replies (minutes)
	$(BIN)/python -m benchmarks.coherence

.PHONY: screenshots
screenshots: setup ## Take the README's pictures of the demo that is served on port 8000 (minutes)
	$(BIN)/python -m benchmarks.screenshots

.PHONY: audit
audit: setup ## List the licences of all that is locked; fails where one has to be looked at (seconds, no network)
	@$(BIN)/python -m audit

.PHONY: lock
lock: setup ## Resolve the locks again from pyproject.toml: this environment's, the images', and uv's own
	@set -- --quiet --python-version 3.11 --generate-hashes --excludes excludes.txt; \
	cpu='--no-emit-find-links --excludes cpu-excludes.txt --extra cpu'; \
	$(BIN)/uv pip compile "$$@" $$cpu $(FIND_TORCH) --extra dev --extra train \
		--output-file requirements-cpu.lock pyproject.toml && \
	$(BIN)/uv pip compile "$$@" $$cpu $(FIND_TORCH) --constraint requirements-cpu.lock --no-annotate \
		--output-file requirements-image-cpu.lock pyproject.toml && \
	$(BIN)/uv pip compile "$$@" --python-platform x86_64-manylinux_2_35 --extra gpu --no-annotate \
		--output-file requirements-image-gpu.lock pyproject.toml && \
	$(BIN)/python -m audit.requirements && $(BIN)/python -m audit.gpu_licences
	@$(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --group uv --output-file requirements-uv.lock
