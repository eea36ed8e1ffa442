"""Say how long jobs will take by the rates of the config; see the cost sheet.

Reads {"config": ..., "cores": ..., "jobs": [[rule, wildcards], ...]} as JSON, and writes a list of seconds, null
where rates do not tell.
"""

import json
import sys

from workflow_scripts.plan.experiment import Experiment
from workflow_scripts.run.costs import Costs, Job, read_sizes
from workflow_scripts.shared.files import run_command


def main() -> None:
    """Read config, cores and jobs as JSON from standard input, and write the seconds of each job as JSON."""
    asked = json.load(sys.stdin)
    experiment = Experiment(asked["config"])
    costs = Costs(experiment, read_sizes(experiment), asked["cores"])
    jobs = [Job(rule, wildcards, finished=False, needs=()) for rule, wildcards in asked["jobs"]]
    json.dump([costs.seconds(job) for job in jobs], sys.stdout)


if __name__ == "__main__":
    run_command(main)
