"""How well the cost sheet's rates predict a finished run: predicted against measured times, by rule, and disk.

python -m benchmarks.cost                              # the default experiment, after snakemake --cores 2
python -m benchmarks.cost --configfile configs/tiny.yaml

Give the run's --cores if it was not this machine's number of cores. Jobs that run in parallel slow each other down, and
the rates include that.
"""

import os
from pathlib import Path
from statistics import mean

from workflow_scripts.cost_sheet import (
    benchmark_name,
    cost_parser,
    list_jobs,
    longest_chain,
    read_benchmarks,
    read_experiment,
)
from workflow_scripts.plan.command_line import config_of, snakemake_arguments
from workflow_scripts.run.costs import Costs, Job, read_sizes
from workflow_scripts.shared.files import UserError, run_command

NOT_TIMED = ("sum_costs", "record_provenance", "write_report", "list_checksums")  # they come after all others


def disk_use(folder: Path) -> int:
    """Return the bytes of the blocks that all files below a folder occupy, counting hard links once."""
    files = {status.st_ino: status.st_blocks * 512 for status in (path.lstat() for path in folder.rglob("*"))}
    return sum(files.values())


def compare(what: str, predicted: float, measured: float, number: str = "") -> None:
    """Print a line of the table."""
    print(f"{what:<22} {number:>5} {predicted:>11,.1f} {measured:>11,.1f} {predicted / measured:>7.2f}")


def main() -> None:
    """Print predicted against measured seconds, by rule, in total and for the longest chain, and megabytes on disk.

    Raises:
        UserError: the experiment has brought networks, or one of its jobs has not been run.
    """
    args = cost_parser(__doc__).parse_args()
    experiment = read_experiment(config_of(args), args.gpus)
    config = experiment.config
    costs = Costs(experiment, read_sizes(experiment), args.cores or os.cpu_count())
    jobs = {node: job for node, job in list_jobs(snakemake_arguments(args)).items() if job.rule not in NOT_TIMED}
    if any(map(costs.is_brought, jobs.values())):
        raise UserError("there are no rates for brought networks: compare an experiment without them")
    times = read_benchmarks(config["experiment"])

    def predicted(job: Job) -> float:
        seconds = costs.seconds(job)
        assert seconds is not None, "there are rates for all jobs but those of brought networks"
        return seconds

    def measured(job: Job) -> float:
        if benchmark_name(job) not in times:
            raise UserError(f"{benchmark_name(job)} has not been run in results/{config['experiment']}: run all first")
        return mean(times[benchmark_name(job)])

    print(f"{'':<22} {'jobs':>5} {'predicted':>11} {'measured':>11} {'ratio':>7}")
    for rule in sorted({job.rule for job in jobs.values()}):
        of_rule = [job for job in jobs.values() if job.rule == rule]
        compare(rule, sum(map(predicted, of_rule)), sum(map(measured, of_rule)), str(len(of_rule)))
    compare("all, seconds", sum(map(predicted, jobs.values())), sum(map(measured, jobs.values())), str(len(jobs)))
    compare("longest chain, seconds", longest_chain(jobs, predicted)[0], longest_chain(jobs, measured)[0])
    # Fetched archives are elsewhere.
    size = sum(costs.bytes(job) for job in jobs.values() if job.rule != "fetch_archive")
    compare("disk at the end, MB", size / 1e6, disk_use(Path("results", config["experiment"])) / 1e6)


if __name__ == "__main__":
    run_command(main)
