"""Networks: the untrained ones, the dense ones, and the chain of pruned levels.

In:  data/train.h5 and data/test.h5, or data/train_index.h5 and data/test_index.h5
Out: <arm>/replicate_<r>/level_<n>/network.pt and metrics.json; rewind.pt beside the dense network
"""


rule init_network:
    """Draw a replicate's initial weights."""
    input:
        train=pictures("train"),
        test=pictures("test"),
        code=code_of("workflow_scripts.train.init_network"),
    output:
        network=f"{RESULTS}/untrained/replicate_{{replicate}}/level_0/network.pt",
        metrics=f"{RESULTS}/untrained/replicate_{{replicate}}/level_0/metrics.json",
    log:
        f"{RESULTS}/logs/untrained/replicate_{{replicate}}/level_0/init_network.log",
    benchmark:
        f"{RESULTS}/benchmarks/untrained/replicate_{{replicate}}/level_0/init_network.tsv"
    priority: 10
    conda:
        "../envs/workflow.yaml"
    threads: network_threads(min(GPUS, 1))
    resources:
        gpu=min(GPUS, 1),
    params:
        code=contents_of_code(code_of("workflow_scripts.train.init_network")),
        settings=network_settings(),
        precision=config["training"]["precision"],
        exempt=config["pruning"]["exempt"],
    shell:
        "python -m workflow_scripts.train.init_network"
        " --train {input.train:q}"
        " --test {input.test:q}"
        " {params.settings}"
        " --precision {params.precision}"
        " --exempt {params.exempt:q}"
        " --replicate {wildcards.replicate}"
        " --gpus {resources.gpu}"
        " --workers {threads}"
        " --out {output.network:q}"
        " --metrics {output.metrics:q}"
        " 2> {log:q}"


rule calibrate_network:
    """Measure the untrained network's batch-norm statistics."""
    input:
        start=f"{RESULTS}/untrained/replicate_{{replicate}}/level_0/network.pt",
        train=pictures("train"),
        test=pictures("test"),
        code=code_of("workflow_scripts.train.calibrate_network"),
    output:
        network=f"{RESULTS}/untrained_calibrated/replicate_{{replicate}}/level_0/network.pt",
        metrics=f"{RESULTS}/untrained_calibrated/replicate_{{replicate}}/level_0/metrics.json",
    log:
        f"{RESULTS}/logs/untrained_calibrated/replicate_{{replicate}}/level_0/calibrate_network.log",
    benchmark:
        f"{RESULTS}/benchmarks/untrained_calibrated/replicate_{{replicate}}/level_0/calibrate_network.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: network_threads(min(GPUS, 1))
    resources:
        gpu=min(GPUS, 1),
    params:
        code=contents_of_code(code_of("workflow_scripts.train.calibrate_network")),
        settings=network_settings(),
        precision=config["training"]["precision"],
    shell:
        "python -m workflow_scripts.train.calibrate_network"
        " --initial {input.start:q}"
        " --train {input.train:q}"
        " --test {input.test:q}"
        " {params.settings}"
        " --precision {params.precision}"
        " --replicate {wildcards.replicate}"
        " --gpus {resources.gpu}"
        " --workers {threads}"
        " --out {output.network:q}"
        " --metrics {output.metrics:q}"
        " 2> {log:q}"


rule train_dense:
    """Train a network with all its weights; keep the rewind point."""
    input:
        start=start_network,
        train=pictures("train"),
        test=pictures("test"),
        code=code_of("workflow_scripts.train.train_dense"),
    output:
        network=f"{RESULTS}/{{arm}}/replicate_{{replicate}}/level_0/network.pt",
        metrics=f"{RESULTS}/{{arm}}/replicate_{{replicate}}/level_0/metrics.json",
        rewind=f"{RESULTS}/{{arm}}/replicate_{{replicate}}/level_0/rewind.pt",
    log:
        f"{RESULTS}/logs/{{arm}}/replicate_{{replicate}}/level_0/train_dense.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{arm}}/replicate_{{replicate}}/level_0/train_dense.tsv"
    wildcard_constraints:
        arm="imp|trained_twice",
    priority: 10
    conda:
        "../envs/workflow.yaml"
    threads: network_threads(GPUS)
    resources:
        gpu=GPUS,
    params:
        code=contents_of_code(code_of("workflow_scripts.train.train_dense")),
        settings=training_settings(),
        rewind_epoch=config["pruning"]["rewind_epoch"],
    # exec: a scheduler's SIGTERM goes to all processes, and with a shell gone the job would end while its state is saved.
    shell:
        "exec python -m workflow_scripts.train.train_dense"
        " --initial {input.start:q}"
        " --rewind-epoch {params.rewind_epoch}"
        " --rewind {output.rewind:q}"
        " --train {input.train:q}"
        " --test {input.test:q}"
        " {params.settings}"
        " --replicate {wildcards.replicate}"
        " --gpus {resources.gpu}"
        " --workers {threads}"
        " --out {output.network:q}"
        " --metrics {output.metrics:q}"
        " 2> {log:q}"


rule train_level:
    """Prune, rewind, and train again: one round of iterative magnitude pruning."""
    input:
        parent=parent_network,
        rewind=f"{RESULTS}/imp/replicate_{{replicate}}/level_0/rewind.pt",
        train=pictures("train"),
        test=pictures("test"),
        code=code_of("workflow_scripts.train.train_level"),
    output:
        network=f"{RESULTS}/imp/replicate_{{replicate}}/level_{{level}}/network.pt",
        metrics=f"{RESULTS}/imp/replicate_{{replicate}}/level_{{level}}/metrics.json",
    log:
        f"{RESULTS}/logs/imp/replicate_{{replicate}}/level_{{level}}/train_level.log",
    benchmark:
        f"{RESULTS}/benchmarks/imp/replicate_{{replicate}}/level_{{level}}/train_level.tsv"
    wildcard_constraints:
        level=r"[1-9]\d*",
    # The levels of a replicate wait for one another: they go first, everything else fills the gaps.
    priority: 15
    conda:
        "../envs/workflow.yaml"
    threads: network_threads(GPUS)
    resources:
        gpu=GPUS,
    params:
        code=contents_of_code(code_of("workflow_scripts.train.train_level")),
        settings=training_settings(),
        fraction=config["pruning"]["fraction"],
    # exec: a scheduler's SIGTERM goes to all processes, and with a shell gone the job would end while its state is saved.
    shell:
        "exec python -m workflow_scripts.train.train_level"
        " --parent {input.parent:q}"
        " --rewind {input.rewind:q}"
        " --fraction {params.fraction}"
        " --train {input.train:q}"
        " --test {input.test:q}"
        " {params.settings}"
        " --replicate {wildcards.replicate}"
        " --gpus {resources.gpu}"
        " --workers {threads}"
        " --out {output.network:q}"
        " --metrics {output.metrics:q}"
        " 2> {log:q}"
