"""The report: one self-contained page, with figures and tables as files beside it."""

from analysis.report.write import write_report

__all__ = ["write_report"]
