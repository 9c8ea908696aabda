"""A steady load on several URLs that counts every failure. Run as `python -m local.load`."""

from local.load.generator import Load, Request
from local.load.report import Failure, Report

__all__ = ["Failure", "Load", "Report", "Request"]
