"""The report: data in, text out; only `write` touches the file system."""

from audits.report.claims.document import Report
from audits.report.write import ReportError, write_reports, write_text

__all__ = ["Report", "ReportError", "write_reports", "write_text"]
