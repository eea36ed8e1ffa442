"""What the workflow uses of Snakemake beyond its documented interface, all in one small workflow.

A release of Snakemake, or of its executor for SLURM, may change any of it without notice: then this test says what, in
seconds. Rules and modules that need more of it add it here.
"""

from pathlib import Path

import pytest
from snakemake import jobs
from snakemake.cli import parse_config
from snakemake.scheduling import job_scheduler
from test_workflow import snakemake

from workflow_scripts.run.failures import NOT_RECORDED, ON_REQUEST

SNAKEFILE = r"""
import logging
import sys
from pathlib import Path

import snakemake_executor_plugin_slurm
from snakemake.jobs import GroupJob
from snakemake.logging import logger
from snakemake.settings.enums import Quietness
from snakemake_interface_executor_plugins.settings import SharedFSUsage
from snakemake_interface_logger_plugins.common import LogEvent

# rules/common.smk: while the rules are read
assert workflow.modifier.is_main_snakefile()
assert workflow.modifier.modify_path("results") == "results"
assert dict(workflow.config_settings.config) == {"typed": 1}
assert [Path(file).resolve() for file in workflow.configfiles] == [Path("given.yaml").resolve()]

# run/executors.py
settings = workflow.storage_settings
needed = {SharedFSUsage.INPUT_OUTPUT, SharedFSUsage.PERSISTENCE, SharedFSUsage.SOURCES}
assert settings.default_storage_provider is None and needed <= set(settings.shared_fs_usage)
assert SharedFSUsage.SOURCES.item_to_choice() == "sources"
assert callable(snakemake_executor_plugin_slurm.is_query_tool_available)
assert snakemake_executor_plugin_slurm.ExecutorSettings(status_command="squeue").status_command == "squeue"

# run/terminal.py: what is shown in place of Snakemake's own messages
output = workflow.output_settings
assert workflow.is_main_process
assert not (output.dryrun or output.verbose or output.debug_dag)
assert set(output.quiet) == {Quietness.HOST}
(handler,) = (handler for handler in logger.handlers if handler.name == "DefaultStreamHandler")


class Terminal(logging.Formatter):
    def __init__(self, usual):
        super().__init__()
        self.usual, self.jobs, self.started, self.ended, self.progress = usual, {}, [], [], []

    def format(self, record):
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_STARTED:
            running = {job.jobid: job for job in workflow.scheduler.running}
            assert set(record.jobs) <= running.keys()
            self.started += record.jobs
        elif event == LogEvent.JOB_FINISHED:
            self.ended.append(record.job_id)
        elif event == LogEvent.PROGRESS:
            self.progress.append((record.done, record.total))
        return self.usual.format(record)


terminal = Terminal(handler.formatter)
handler.setFormatter(terminal)
left_out = (LogEvent.WORKFLOW_STARTED, LogEvent.RESOURCES_INFO, LogEvent.JOB_INFO, LogEvent.GROUP_INFO)
handler.addFilter(lambda record: getattr(record, "event", None) not in left_out)


rule copy:
    input:
        "first.txt",
    output:
        "copy.txt",
    shell:
        "cp {input} {output}"


rule make:
    output:
        "{name}.txt",
    log:
        "{name}.log",
    benchmark:
        "{name}.tsv"
    threads: 1
    resources:
        gpu=1,
    shell:
        "touch {output} {log}"


onstart:
    assert not workflow.executor_plugin.common_settings.non_local_exec and not workflow.non_local_exec
    assert workflow.executor_plugin.name == "local" and hasattr(workflow, "executor_settings")
    assert not workflow.touch
    assert workflow.resource_settings.cores == 1
    dag, scheduler = workflow.dag, workflow.scheduler
    assert len(dag) == 2
    jobs = {job.rule.name: job for job in dag.needrun_jobs()}
    assert jobs.keys() == {"copy", "make"} == {job.rule.name for job in dag.jobs}
    make, copy = jobs["make"], jobs["copy"]
    assert list(dag.dependencies[copy]) == [make] and not list(dag.dependencies[make])
    assert not set(scheduler.running) and not list(scheduler.failed)
    assert workflow.execution_settings.keep_going is False
    limits = {name: limit for name, limit in scheduler.global_resources.items() if 0 < limit < sys.maxsize}
    assert limits["_cores"] == 1 and limits["gpu"] == 2
    assert make.jobid != copy.jobid
    assert make.wildcards_dict == {"name": "first"} and copy.wildcards_dict == {}
    assert [str(path) for path in make.log] == ["first.log"] and not copy.log
    assert str(make.benchmark) == "first.tsv" and not copy.benchmark
    assert list(make.output) == ["first.txt"]
    assert isinstance(make.is_local, bool) and not make.is_group()
    assert make.scheduler_resources.get("gpu", 0) == 1 == make.scheduler_resources.get("_cores", 0)
    assert copy.scheduler_resources.get("gpu", 0) == 0
    for name in ("__iter__", "is_group", "is_local", "jobid", "output"):
        assert hasattr(GroupJob, name), name
    terminal.jobs = jobs


onsuccess:
    first, last = (terminal.jobs[rule].jobid for rule in ("make", "copy"))
    assert terminal.started == terminal.ended == [first, last]
    assert terminal.progress == [(1, 2), (2, 2)]
    assert {job.rule.name for job in workflow.dag.jobs} == {"copy", "make"}
    print("CONTRACT HOLDS", file=sys.stderr)
"""


def test_snakemake_has_what_the_workflow_uses_of_its_insides(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "given.yaml").write_text("written: 1\n")
    run = snakemake(
        tmp_path,
        *("--cores", "1", "--resources", "gpu=2", "--quiet", "host"),
        *("--configfile", "given.yaml", "--config", "typed=1"),
    )
    assert run.returncode == 0 and "CONTRACT HOLDS" in run.stdout.splitlines(), run.stdout


FAILING = r"""
import logging
import threading

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent


# run/failures.py: what is noted of failures
class Failures(logging.Handler):
    def emit(self, record):
        event = getattr(record, "event", None)
        if event == LogEvent.ERROR:
            told.append((threading.get_ident(), str(record.msg)))
        elif event == LogEvent.JOB_ERROR:
            ended.append((threading.get_ident(), record.jobid, record.log, record.rule_msg))


told, ended = [], []
logger.addHandler(Failures())


rule all:
    input: "fails.txt", "loses.txt"


rule fails:
    output: "fails.txt"
    log: "fails.log"
    shell: "echo no > {log}; kill -9 $$"


rule loses:
    output: "loses.txt"
    shell: "true"


onerror:
    jobs = {job.rule.name: job for job in workflow.scheduler.failed}
    assert jobs.keys() == {"fails", "loses"}
    # The command that fails is told in the thread of its job just before the job; that of a missing output alone.
    [(thread, number, logs, said)] = ended
    assert number == jobs["fails"].jobid and logs == ["fails.log"] and said is None
    [command] = [text for of, text in told if of == thread]
    assert "died with <Signals.SIGKILL: 9>" in command
    [missing] = [text for of, text in told if of != thread]
    head, _, words = missing.partition("\n")
    assert " in rule loses " in head and "loses.txt" in words and "completed successfully" in words
    assert [path.endswith(".snakemake.log") for path in log] == [True]
    logger.error("FAILURES ARE TOLD")
"""


def test_snakemake_tells_of_failures_as_the_workflow_expects(tmp_path):
    (tmp_path / "Snakefile").write_text(FAILING)
    run = snakemake(tmp_path, "--cores", "1", "--keep-going", "--latency-wait", "0")
    assert run.returncode == 1
    lines = run.stdout.splitlines()
    told = lines.index("FAILURES ARE TOLD")
    # run/terminal.py leaves these out, which follow.
    assert lines[told + 1].startswith("Complete log(s)") and lines[told + 2].startswith("Elapsed time")
    assert lines[told + 3 :] == ["WorkflowError:", "At least one job did not complete successfully."]
    assert any(line.startswith("Exiting because a job execution failed") for line in lines[:told])


def test_snakemake_has_the_words_for_a_run_that_it_ends():
    source = Path(job_scheduler.__file__).read_text()
    assert all(words in source for words in ON_REQUEST)
    assert NOT_RECORDED in Path(jobs.__file__).read_text()


def test_snakemake_reads_values_on_the_command_line_as_commands_do():
    assert parse_config(["gpus=1", "images={size: [2]}", "experiment=x"]) == {
        "gpus": 1,
        "images": {"size": ["2"]},
        "experiment": "x",
    }
    for word in ("gpus", "=1", "1=1"):
        with pytest.raises((ValueError, AssertionError)):
            parse_config([word])
