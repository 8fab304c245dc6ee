"""The report of a run as one HTML page: `write_report`, `compare_report`, `notebook_html`."""

from distml.report.beside import compare_report
from distml.report.page import is_report, notebook_html, report_html, write_report

__all__ = ["compare_report", "is_report", "notebook_html", "report_html", "write_report"]
