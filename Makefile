# Daily commands. `make demo` and `make test` need nothing but Python 3.11; both set up what they need.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV := $(VENV)/.ready-dev
PEERS := .venv-peers
DOCS := .venv-docs
# On a machine with CUDA, rendering there is gsplat's.
PACKAGE := .$(if $(shell command -v nvidia-smi),[cuda])
DEMO ?= demo_out
REAL ?= real_out
PANDASET_ROOT ?=
BENCH_ROOT = $(if $(PANDASET_ROOT),--root $(PANDASET_ROOT))
LOG ?= $(notdir $(patsubst %/lidar,%,$(firstword $(sort $(wildcard $(PANDASET_ROOT)/*/lidar)))))

# Idle OpenMP threads must not spin while the rasteriser's own threads work.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help setup demo test test-slow lint docs real bench peers gpu-check clean

help:  ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(DEV)  ## Make .venv with everything pinned by constraints.txt

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11 or call make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '$(PACKAGE)'
	@touch $(READY)

# What tests, lint and benchmarks need on top: two gigabytes, most of them the official codes to compare with.
$(DEV): $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(DEV)

demo: $(READY)  ## Generated log -> store -> short training -> evaluation -> report, on a CPU, in minutes
	rm -rf $(DEMO)
	$(BIN)/flux4d-build synth $(DEMO)/logs --logs 3 --seconds 3.6 --seed 0 --preset small
	$(BIN)/flux4d-build build --root $(DEMO)/logs --out $(DEMO)/store --protocol.test-logs synth002
	$(BIN)/flux4d-train cpu --store $(DEMO)/store --out $(DEMO)/run --evaluation.every 80 --evaluation.max-clips 1
	$(BIN)/flux4d-eval report $(DEMO)/run
	$(BIN)/flux4d-eval run --store $(DEMO)/store --run $(DEMO)/run --out $(DEMO)/report \
		--clips synth000-train_future-s000 synth002-evaluation-s000

real: $(READY)  ## The same on one real log: make real PANDASET_ROOT=/data/pandaset [LOG=002]
	@test -n "$(LOG)" || { echo "no log under PANDASET_ROOT='$(PANDASET_ROOT)': name the folder that holds the PandaSet logs, e.g. make real PANDASET_ROOT=/data/pandaset"; exit 1; }
	rm -rf $(REAL)
	$(BIN)/flux4d-build build --root $(PANDASET_ROOT) --out $(REAL)/store --logs $(LOG) --protocol.test-logs $(LOG)
	$(BIN)/flux4d-train cpu --store $(REAL)/store --out $(REAL)/run --overfit $(LOG)-evaluation-s000 --steps 300 \
		--stream.width 960 --stream.views-per-step 1 --evaluation.every 100 --evaluation.clips $(LOG)-evaluation-s020
	$(BIN)/flux4d-eval report $(REAL)/run
	$(BIN)/flux4d-eval run --store $(REAL)/store --run $(REAL)/run --out $(REAL)/report --width 960 --max-clips 2

test: $(DEV)  ## Tests under ten minutes on two cores
	$(BIN)/pytest -q -m "not slow" -n 2 --dist loadscope

test-slow: $(DEV)  ## The longer ones
	$(BIN)/pytest -q -m slow

lint: $(DEV)  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Sources are read, not imported: no torch in this environment.
docs: $(DOCS)/.ready  ## The documentation as a site, with API pages and every link checked: site/index.html
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict

$(DOCS)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS)
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' > $(DOCS)/requirements.txt
	$(DOCS)/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --requirement $(DOCS)/requirements.txt
	@touch $@

bench: $(DEV)  ## Benchmarks, one JSON object each as the last line; the real log is found by PANDASET_ROOT
	$(BIN)/python -m benchmarks.rasterize --quick --json $(BENCH_ROOT)
	$(BIN)/python -m benchmarks.preprocess --quick --json $(BENCH_ROOT)
	$(BIN)/python -m benchmarks.ground_truth --quick --json $(BENCH_ROOT)
	$(BIN)/python -m benchmarks.colour --quick --json $(BENCH_ROOT)
	$(BIN)/python -m benchmarks.alignment --quick --json $(BENCH_ROOT)
	$(BIN)/python -m benchmarks.lidar --quick --json $(BENCH_ROOT)
	$(BIN)/python -m benchmarks.scale --quick --json $(BENCH_ROOT)
	$(BIN)/python -m benchmarks.invariance --json $(BENCH_ROOT)
	$(BIN)/python -m benchmarks.stream --quick --json $(BENCH_ROOT)

# An environment of their own: Mosaic Streaming wants an older numpy.
peers: $(PEERS)/.ready  ## Make .venv-peers: WebDataset, LitData and Mosaic Streaming for benchmarks.stream

$(PEERS)/.ready: benchmarks/peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check --requirement benchmarks/peers.txt
	@touch $(PEERS)/.ready

gpu-check: $(DEV)  ## Parity and speed on a CUDA device: make gpu-check [STORE=store]; writes benchmarks/results/*.json
	$(BIN)/python -m benchmarks.gpu $(if $(STORE),--store $(STORE))

clean:  ## Remove what the targets made (not .venv*)
	rm -rf $(DEMO) $(REAL) runs site .pytest_cache .mypy_cache .ruff_cache .hypothesis
