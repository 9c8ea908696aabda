# make demo       one rotation on the local stack under load, start to finish (ARGS="--reject", ...)
# make test       every check, and every test but those of `make long` and `make chaos`
# make help       the other targets

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN = $(VENV)/bin
# The newest that runs on Node.js 18 and 20.
AZURITE_VERSION = 3.35.0
# Hundreds of processes start the same modules: compiled once, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE
ENGINE_TESTS ?= tests/engine tests/e2e tests/security tests/chaos

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | sort | expand -t 12

.PHONY: demo
demo: $(VENV)/ready ## one rotation under load and the proof that it worked; ARGS="--help" lists options
	@$(BIN)/python -m local.demo $(ARGS)

.PHONY: local
local: $(VENV)/ready ## the local stack, until Ctrl-C; prints its URLs and commands to try
	@$(BIN)/python -m local.up $(ARGS)

.PHONY: test
test: lint types imports units ## every check, and every test but those of `make long` and `make chaos`

.PHONY: units
units: $(VENV)/ready ## the tests; ARGS goes to pytest
	@# Four on two cores: whole rotations wait longer than they compute.
	$(BIN)/python -m pytest -n 4 --dist loadfile --ignore=tests/chaos -m "not long and not real" $(ARGS)

.PHONY: long
long: $(VENV)/ready .venv-checkov/ready ## the tests that take long: releases, every format and version, guides, recipes
	$(BIN)/python -m pytest -n 4 --dist loadfile --ignore=tests/chaos --ignore=tests/frameworks -m long $(ARGS)

.PHONY: test-frameworks
test-frameworks: $(VENV)/ready ## recipes of docs/applications.md on applications of other frameworks, those that can be built here
	$(BIN)/python -m pytest tests/frameworks $(ARGS)

.PHONY: chaos
chaos: $(VENV)/ready ## kills, outages, a full disk, storms of events, under load; CHAOS=full for all of them
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/chaos $(ARGS)

.PHONY: test-azure-engine
test-azure-engine: $(VENV)/ready azurite ## demo and tests on Microsoft's durable extension; ENGINE_TESTS names fewer
	@$(BIN)/python -m local.demo --engine azure --yes
	@$(BIN)/python -m local.demo --engine azure --reject
	@$(BIN)/python -m local.demo --engine azure --yes --crash
	$(BIN)/python -m pytest --engine azure $(ENGINE_TESTS) $(ARGS)

.PHONY: azurite
azurite: ## installs Azurite with npm, unless AZURITE names one
	@test -n "$(AZURITE)" -o -x .azurite/node_modules/.bin/azurite || \
	  npm install --silent --no-audit --no-fund --prefix .azurite azurite@$(AZURITE_VERSION)

.PHONY: test-kubernetes
test-kubernetes: $(VENV)/ready ## the tests on a real Kubernetes API server; builds it first, with Go
	@folder=$$($(BIN)/python -m tests.kubernetes.build $(BUILD)) && if [ -n "$$folder" ]; then \
	  CONTROL_PLANE=$$folder $(BIN)/python -m pytest tests/kubernetes $(ARGS); fi

.PHONY: prometheus
prometheus: $(VENV)/ready ## builds the Prometheus that `make test-real` asks, once; needs Go
	@$(BIN)/python -m tests.real.build $(BUILD)

.PHONY: test-real
test-real: $(VENV)/ready ## contract tests on servers as people have them, those that are here, and drivers of other languages
	$(BIN)/python -m pytest -n 2 -m real tests/real $(ARGS)

.PHONY: lint
lint: $(VENV)/ready ## ruff: rules, security rules, format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: $(VENV)/ready ## mypy, strict
	$(BIN)/mypy .

.PHONY: imports
imports: $(VENV)/ready ## import rules: who may import whom
	$(BIN)/lint-imports

.PHONY: infra
infra: $(VENV)/ready .venv-checkov/ready ## the Bicep files: compiler, snapshots, security scan; ARGS="--write-snapshots"
	$(BIN)/python -m tests.infra.check --checkov .venv-checkov/bin/checkov $(ARGS)

.PHONY: kusto
kusto: .kusto/ready ## Kusto's language service, by which tests read the alerts' queries; needs npm

.PHONY: axe
axe: .axe/ready ## axe-core, by which tests in a browser look for what keeps people out; needs npm

.PHONY: audit
audit: $(VENV)/ready ## known vulnerabilities of what is pinned; needs the network
	@$(BIN)/python -m tests.infra.audit $(ARGS)

.PHONY: sbom
sbom: $(VENV)/ready .venv-app/ready .venv-sbom/ready ## what the deployed app is made of, as CycloneDX, and its licences
	@mkdir -p var
	@.venv-sbom/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
	  --output-file var/sbom.cdx.json .venv-app
	@$(BIN)/python -m tests.infra.licences var/sbom.cdx.json

.PHONY: simulate
simulate: $(VENV)/ready ## faulty runs on a virtual clock; ARGS="--runs N --seed S"
	@$(BIN)/python -m tests.simulation $(ARGS)

.PHONY: mutate
mutate: $(VENV)/ready ## faults put into the code one at a time, to see that a test notices; ARGS="--sample N"
	@$(BIN)/python -m tests.mutation $(ARGS)

.PHONY: bench
bench: $(VENV)/ready ## the measurements that README.md quotes
	@$(BIN)/python -m bench $(ARGS)

.PHONY: bench-frameworks
bench-frameworks: $(VENV)/ready ## requests that applications of other frameworks lose; ARGS="--help" lists options
	@$(BIN)/python -m bench frameworks $(ARGS)

.PHONY: generated
generated: $(VENV)/ready ## writes what must agree with the code: schemas, OpenAPI, lists, tables
	@$(BIN)/python -m generate $(ARGS)

.PHONY: screenshots
screenshots: $(VENV)/ready ## takes the pictures of pages and command line anew; needs chromium
	$(BIN)/python -m tests.browser.screenshots docs/images
	$(BIN)/python -m tests.rotctl.recording docs/images/rotctl.svg

# Each begins with --require-hashes, so that pip takes nothing else for it, on Azure neither.
LOCKED = requirements requirements-rotctl requirements-dev requirements-checkov requirements-sbom $(addprefix bench/frameworks/python/,gunicorn gunicorn-23 uvicorn)

.PHONY: lock
lock: $(VENV)/ready ## resolves requirements*.in into requirements*.txt, with hashes
	for set in $(LOCKED); do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
	    --no-emit-index-url --generate-hashes $$set.in -o $$set.txt && \
	  { echo --require-hashes; grep -v '^--require-hashes$$' $$set.txt; } > $$set.new && \
	  mv $$set.new $$set.txt || exit 1; \
	done

.PHONY: hooks
hooks: $(VENV)/ready ## make lint before each commit, by pre-commit
	$(BIN)/pre-commit install

.PHONY: clean
clean: ## removes what make made
	rm -rf $(VENV) .venv-checkov .venv-app .venv-sbom .azurite .axe .drivers .kusto .frameworks .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# checkov pins what the app pins otherwise: it has an environment of its own.
.venv-checkov/ready: requirements-checkov.txt
	@$(PYTHON) -m venv .venv-checkov
	@echo "installing checkov (once, about a minute)"
	@.venv-checkov/bin/python -m pip install --quiet --disable-pip-version-check \
	  --require-hashes -r requirements-checkov.txt
	@touch $@

.venv-sbom/ready: requirements-sbom.txt
	@$(PYTHON) -m venv .venv-sbom
	@echo "installing what lists the parts of the app (once)"
	@.venv-sbom/bin/python -m pip install --quiet --disable-pip-version-check \
	  --require-hashes -r requirements-sbom.txt
	@touch $@

# Just what Azure installs: nothing of the local stack, the tests or pip is in its list of parts.
.venv-app/ready: requirements.txt $(VENV)/ready
	@$(PYTHON) -m venv --without-pip .venv-app
	@echo "installing what the app needs (once)"
	@$(BIN)/python -m pip --python .venv-app install --quiet --disable-pip-version-check \
	  --require-hashes -r requirements.txt
	@touch $@

.kusto/ready:
	@npm install --prefix .kusto --silent --no-save --no-package-lock --ignore-scripts --no-audit --no-fund \
	  @kusto/language-service-next@12.4.1
	@touch $@

.axe/ready:
	@npm install --prefix .axe --silent --no-save --no-package-lock --ignore-scripts --no-audit --no-fund axe-core@4.14.1
	@touch $@

# The stamp is newer than the requirements only once they are installed whole.
$(VENV)/ready: requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11; name another: make PYTHON=python3.13 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot make a venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing what is pinned in requirements-dev.txt (once, about a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --require-hashes -r requirements-dev.txt
	@# The command line, from here; what it needs is there already.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps \
	  --no-build-isolation --editable .
	@touch $@
