"""Snakemake's report, made by the run itself when it ends."""

import logging
import os
from pathlib import Path
from typing import Any

from snakemake.logging import logger
from snakemake.report import auto_report
from snakemake.report.html_reporter import ReportSettings
from snakemake.settings.types import GlobalReportSettings
from snakemake_interface_report_plugins.registry import ReportPluginRegistry


def make_report(workflow: Any, path: Path) -> None:
    """Write what `snakemake --report` would, of the jobs of the run that ends here, with its config as it is.

    In this process, for a second Snakemake would need all of this one's arguments, and wait for its lock.
    """
    level = logger.level
    logger.setLevel(logging.WARNING)  # not a line for each file
    part = path.with_name(f"{path.stem}.part.html")
    try:
        settings = ReportSettings(path=part)
        plugin = ReportPluginRegistry().get_plugin("html")
        workflow.async_run(auto_report(workflow.dag, plugin, settings, GlobalReportSettings()))
        os.replace(part, path)
    finally:
        logger.setLevel(level)
        part.unlink(missing_ok=True)
