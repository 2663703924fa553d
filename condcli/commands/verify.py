"""``condcli verify FILE``: whether a statistics file is whole and can be true."""

from __future__ import annotations

from condcli.commands import FormatOption, StatsFile, naming, show

EXAMPLES = """
condcli verify stats.h5

condcli verify stats.h5 --format json
"""


def verify(file: StatsFile, form: FormatOption = "table") -> None:
    """Check a statistics file: form, checksums, and the laws that its numbers obey.

    Numbers are finite, moments symmetric and positive semi-definite within rounding, counts add up.
    Shows what holds; the first part that breaks a law is an error, with exit code 3.
    """
    from condcli import statsfile
    from condcli.analysis import verification
    from condcli.output.report import Report

    stats = statsfile.read(file)
    with naming(file):
        rows = verification.verify(stats)
    report = Report(
        command="verify",
        file=file,
        row_type=verification.VerifyRow,
        rows=rows,
        provenance=stats.provenance,
    )
    show(report, form)
