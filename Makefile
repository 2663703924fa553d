.DEFAULT_GOAL := help
PYTHON ?= python
SCALE ?= smoke
ROOT ?= data
WORK ?= paper

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install:  ## install condcli with everything needed to work on it
	$(PYTHON) -m pip install -e '.[dev]'

check: lint types imports test  ## everything that CI checks

fix:  ## format, and repair what can be repaired
	ruff format .
	ruff check --fix .

lint:  ## style
	ruff format --check .
	ruff check .

types:  ## static types
	mypy

imports:  ## import contracts
	lint-imports

test:  ## tests
	pytest

bench:  ## compare with a bare pass and with other libraries; needs '.[bench]', and an idle machine
	$(PYTHON) -m benchmarks.run --write docs/performance.md
	$(PYTHON) -m benchmarks.fisher --write docs/performance.md
	$(PYTHON) -m benchmarks.commands --write docs/performance.md
	$(PYTHON) -m benchmarks.spectra --write docs/performance.md
	$(PYTHON) -m benchmarks.scaling --write docs/performance.md

bench-gpu:  ## the same on a CUDA device, with ResNet-50
	$(PYTHON) -m benchmarks.gpu --write docs/performance.md

sweeps:  ## kill, fill disks, flip bytes, resume: everything, into docs/reliability.md; an hour
	$(PYTHON) -m tests.reliability.sweeps

fuzz:  ## mutated input for every parser, ten minutes; needs '.[fuzz]'
	$(PYTHON) -m tests.reliability.fuzz 600

paper:  ## the paper's experiments; SCALE=smoke|cpu|full DEVICE=… ROOT=data WORK=paper; says first what it costs
	$(PYTHON) -m experiments --scale $(SCALE) --root $(ROOT) --work $(WORK) $(if $(DEVICE),--device $(DEVICE))

samples:  ## train the sample checkpoints again
	$(PYTHON) sample_checkpoints/train.py

.PHONY: help install check fix lint types imports test bench bench-gpu sweeps fuzz paper samples
