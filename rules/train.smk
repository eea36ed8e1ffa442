"""Networks that are trained here: the untrained, the dense, and the chain of pruned levels.

In:  data/train.h5 and data/test.h5, or data/train_index.h5 and data/test_index.h5
Out: <arm>/replicate_<r>/level_<n>/network.pt and metrics.json; rewind.pt beside the dense network
"""

FOLDERS = {split: packed_folder("images", split) for split in ("train", "test")} if EXPERIMENT.in_files else {}


rule init_network:
    """Draw a replicate's initial weights."""
    input:
        train=EXPERIMENT.pictures("train"),
        test=EXPERIMENT.pictures("test"),
    output:
        network=f"{NETWORK}/network.pt",
        metrics=f"{NETWORK}/metrics.json",
    log:
        f"{LOGS}/init_network.log",
    benchmark:
        f"{TIMES}/init_network.tsv"
    wildcard_constraints:
        arm=EXPERIMENT.arms_of("init_network"),
    priority: 10
    conda:
        "../envs/workflow.yaml"
    threads: EXPERIMENT.threads("init_network")
    resources:
        gpu=EXPERIMENT.gpus("init_network"),
    params:
        code=code_fingerprint("workflow_scripts.train.init_network"),
        settings=verbatim(EXPERIMENT.network_settings(FOLDERS)),
        precision=config["training"]["precision"],
        exempt=verbatim(config["pruning"]["exempt"]),
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


rule make_control:
    """Make a baseline or a reference from another network, by a recipe in train/controls."""
    input:
        start=of_parent("network.pt"),
        train=EXPERIMENT.pictures("train"),
        test=EXPERIMENT.pictures("test"),
    output:
        network=f"{NETWORK}/network.pt",
        metrics=f"{NETWORK}/metrics.json",
    log:
        f"{LOGS}/make_control.log",
    benchmark:
        f"{TIMES}/make_control.tsv"
    wildcard_constraints:
        arm=EXPERIMENT.arms_of("make_control"),
    conda:
        "../envs/workflow.yaml"
    threads: EXPERIMENT.threads("make_control")
    resources:
        gpu=EXPERIMENT.gpus("make_control"),
    params:
        code=lambda wildcards: code_fingerprint(
            "workflow_scripts.train.make_control", f"workflow_scripts.train.controls.{network(wildcards).recipe}"
        ),
        recipe=lambda wildcards: network(wildcards).recipe,
        settings=verbatim(EXPERIMENT.network_settings(FOLDERS)),
        precision=config["training"]["precision"],
    shell:
        "python -m workflow_scripts.train.make_control"
        " --recipe {params.recipe}"
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
    """Train a network with all its weights, and keep the rewind point."""
    input:
        start=of_parent("network.pt"),
        train=EXPERIMENT.pictures("train"),
        test=EXPERIMENT.pictures("test"),
    output:
        network=f"{NETWORK}/network.pt",
        metrics=f"{NETWORK}/metrics.json",
        rewind=f"{NETWORK}/rewind.pt",
    log:
        f"{LOGS}/train_dense.log",
    benchmark:
        f"{TIMES}/train_dense.tsv"
    wildcard_constraints:
        arm=EXPERIMENT.arms_of("train_dense"),
        level="0",
    # All levels and other arms wait for it.
    priority: 20
    conda:
        "../envs/workflow.yaml"
    threads: EXPERIMENT.threads("train_dense")
    resources:
        gpu=EXPERIMENT.gpus("train_dense"),
    params:
        code=code_fingerprint("workflow_scripts.train.train_dense"),
        settings=verbatim(EXPERIMENT.training_settings(FOLDERS)),
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
        " --code {params.code}"
        " --replicate {wildcards.replicate}"
        " --gpus {resources.gpu}"
        " --workers {threads}"
        " --out {output.network:q}"
        " --metrics {output.metrics:q}"
        " 2> {log:q}"


rule train_level:
    """Make a level of an arm: prune, choose what the remaining weights start from, and train them."""
    input:
        unpack(needed),
        train=EXPERIMENT.pictures("train"),
        test=EXPERIMENT.pictures("test"),
    output:
        network=f"{NETWORK}/network.pt",
        metrics=f"{NETWORK}/metrics.json",
    log:
        f"{LOGS}/train_level.log",
    benchmark:
        f"{TIMES}/train_level.tsv"
    wildcard_constraints:
        arm=EXPERIMENT.arms_of("train_level"),
        level=EXPERIMENT.levels_of("train_level"),
    # The levels of a replicate wait for one another, so they go first; everything else fills the gaps.
    priority: 15
    conda:
        "../envs/workflow.yaml"
    threads: EXPERIMENT.threads("train_level")
    resources:
        gpu=EXPERIMENT.gpus("train_level"),
    params:
        code=code_fingerprint("workflow_scripts.train.train_level"),
        settings=lambda wildcards: EXPERIMENT.training_settings(FOLDERS, design(wildcards)),
        choices=lambda wildcards: named_arguments(**network(wildcards).choices),
        files=lambda wildcards, input: named_arguments(**{name: input[name] for name in network(wildcards).needs}),
    # exec: a scheduler's SIGTERM goes to all processes, and with a shell gone the job would end while its state is saved.
    shell:
        "exec python -m workflow_scripts.train.train_level"
        " {params.files}"
        " {params.choices}"
        " --train {input.train:q}"
        " --test {input.test:q}"
        " {params.settings}"
        " --code {params.code}"
        " --replicate {wildcards.replicate}"
        " --gpus {resources.gpu}"
        " --workers {threads}"
        " --out {output.network:q}"
        " --metrics {output.metrics:q}"
        " 2> {log:q}"


# Either rule can make level 0: one does for some arms, the other for the others.
ruleorder: train_dense > train_level
