"""The experiments of the paper, and some beyond it: `python -m experiments` (`make paper`).

An experiment is a module here that has

- ``TITLE`` and ``CLAIM``: what it repeats, and what the paper says of it
- ``ROWS``: the paper's figures and tables that it covers, each with what it shows
- ``SIZES``: for each scale (smoke, cpu, full) whatever sets its size; None where it cannot be run
- ``recipes(size)``: the trainings that it needs, by name; two experiments may share one
- ``run(size, setup)``: train (what is not there yet), measure, draw; an `Outcome`
- ``hours(size, setup)``: of what is no training of one network, where there is such

They use nothing of condcli but what its own users have.
"""

# In the order of docs/paper.md.
EXPERIMENTS: tuple[str, ...] = (
    "full_fim",
    "mlp20",
    "weight_domination",
    "explosion",
    "cnn",
    "last_layer",
    "test_error",
    "imagenet",
    "norms",
    "transformer",
    "gan",
)
SCALES = ("smoke", "cpu", "full")
