"""``condcli neurons FILE``: which neurons are dead, or merely linear."""

from __future__ import annotations

from condcli.commands import FailOnOption, FormatOption, SortOption, StatsFile, naming, show

EXAMPLES = """
condcli neurons stats.h5 --sort dying_share

condcli neurons stats.h5 --fail-on 'dying>10%' --fail-on 'full>0'
"""
_LEGEND = {"–": "not defined for this function"}


def neurons(
    file: StatsFile,
    sort: SortOption = None,
    form: FormatOption = "table",
    fail_on: FailOnOption = None,
) -> None:
    """Show dying neurons (off on every row of the probe set) and full ones (on on every row).

    A neuron is a feature, or a channel of a feature map; rows are those that each of them saw.
    """
    from condcli import statsfile
    from condcli.analysis import neurons as analysis
    from condcli.output.report import Report

    stats = statsfile.read(file)
    with naming(file):
        rows = analysis.neurons(stats)
    report = Report(
        command="neurons",
        file=file,
        row_type=analysis.NeuronRow,
        rows=rows,
        provenance=stats.provenance,
        legend=_LEGEND,
    )
    show(report, form, sort=sort, fail_on=fail_on)
