"""Benchmarks: what condcli costs beside a bare pass and beside other libraries.

From the project's root, with the extra `bench` installed (`pip install -e '.[bench]'`):

    python -m benchmarks.run                 all workloads, all contestants (`make bench`)
    python -m benchmarks.run --workload resnet20-patches --only bare,condcli --rounds 3
    python -m benchmarks.run --shrink 8      an eighth of the examples, to try things out

Further comparisons are `benchmarks.commands` (whole commands, process start included),
`benchmarks.spectra` (eigenvalues), `benchmarks.scaling` (cost against N, width and depth) and
`benchmarks.gpu` (ResNet-50 on CUDA). Each prints a Markdown table; with `--write` it also puts it
into its section of docs/performance.md and the raw numbers into benchmarks/results/.
"""
