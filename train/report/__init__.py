"""The report of an evaluation: pictures and one self-contained page."""

from train.report.page import write_page

__all__ = ["write_page"]
