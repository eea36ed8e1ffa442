"""Network dissection of every network.

In:  <network>/network.pt, data/concepts*.h5; test pictures, to switch units off
Out: <network>/activations.h5, thresholds.h5, tally.h5, units.csv, nulls.csv, split.csv, rotations.csv, sweep.csv,
     ablation.csv, classes.csv
"""


rule check_network:
    """Check first whether the network can be pruned to the last level and dissected."""
    output:
        f"{DATA}/network{{suffix}}.json",
    log:
        f"{RESULTS}/logs/data/check_network{{suffix}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/check_network{{suffix}}.tsv"
    # Nothing reads the output: the rule only has to run first, and to fail if something is wrong, which no retry fixes.
    priority: 30
    retries: 0
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.dissect.check_network"),
        arguments=lambda wildcards: EXPERIMENT.checks(EXPERIMENT.designs[wildcards.suffix]),
    shell:
        "python -m workflow_scripts.dissect.check_network {params.arguments} --out {output:q} 2> {log:q}"


rule find_receptive_fields:
    """Find where in the picture the units of each layer look."""
    output:
        f"{DATA}/receptive_fields{{suffix}}.json",
    log:
        f"{RESULTS}/logs/data/find_receptive_fields{{suffix}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/find_receptive_fields{{suffix}}.tsv"
    retries: 0
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.dissect.find_receptive_fields"),
        arguments=lambda wildcards: EXPERIMENT.geometry(EXPERIMENT.designs[wildcards.suffix]),
    shell:
        "python -m workflow_scripts.dissect.find_receptive_fields"
        " {params.arguments}"
        " --out {output:q}"
        " 2> {log:q}"


rule dump_activations:
    """Run the network over the concept pictures and keep its maps."""
    input:
        network=f"{NETWORK}/network.pt",
        concepts=concepts,
    output:
        f"{NETWORK}/activations.h5",
    log:
        f"{LOGS}/dump_activations.log",
    benchmark:
        f"{TIMES}/dump_activations.tsv"
    conda:
        "../envs/workflow.yaml"
    resources:
        gpu=EXPERIMENT.gpus("dump_activations"),
    params:
        code=code_fingerprint("workflow_scripts.dissect.dump_activations"),
        settings=lambda wildcards: design(wildcards).settings_text,
        arguments=lambda wildcards: EXPERIMENT.dump(design(wildcards)),
        candidates=EXPERIMENT.candidates(),
    shell:
        "python -m workflow_scripts.dissect.dump_activations"
        " --network {input.network:q}"
        " --settings {params.settings:q}"
        " {params.arguments}"
        " --concepts {input.concepts:q}"
        " {params.candidates}"
        " --gpus {resources.gpu}"
        " --out {output:q}"
        " 2> {log:q}"


rule find_thresholds:
    """Find each unit's threshold, the exact order statistic of its activations."""
    input:
        activations=f"{NETWORK}/activations.h5",
        concepts=concepts,
        fields=lambda wildcards: EXPERIMENT.sample_fields(design(wildcards)),
    output:
        f"{NETWORK}/thresholds.h5",
    log:
        f"{LOGS}/find_thresholds.log",
    benchmark:
        f"{TIMES}/find_thresholds.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: EXPERIMENT.threads("find_thresholds")
    resources:
        gpu=EXPERIMENT.gpus("find_thresholds"),
    params:
        code=code_fingerprint("workflow_scripts.dissect.find_thresholds"),
        quantile=config["dissection"]["quantile"],
        samples=EXPERIMENT.samples(),
        fields=fields_argument,
    shell:
        "python -m workflow_scripts.dissect.find_thresholds"
        " --activations {input.activations:q}"
        " --quantile {params.quantile}"
        " {params.samples}"
        " --concepts {input.concepts:q}"
        " {params.fields}"
        " --threads {threads}"
        " --gpus {resources.gpu}"
        " --out {output:q}"
        " 2> {log:q}"


rule tally_units:
    """Count, for every unit and label, the pixels that both cover."""
    input:
        activations=of_network("activations.h5"),
        thresholds=of_network("thresholds.h5"),
        concepts=concepts,
        fields=fields,
    output:
        f"{NETWORK}/tally.h5",
    log:
        f"{LOGS}/tally_units.log",
    benchmark:
        f"{TIMES}/tally_units.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: lambda wildcards: EXPERIMENT.threads("tally_units", network(wildcards))
    resources:
        gpu=lambda wildcards: EXPERIMENT.gpus("tally_units", network(wildcards)),
    params:
        code=code_fingerprint("workflow_scripts.dissect.tally_units"),
        shuffle=shuffle_argument,
        choices=EXPERIMENT.choices("knots", "border", "mask", "counted_images", "planes"),
        fields=fields_argument,
    shell:
        "python -m workflow_scripts.dissect.tally_units"
        " --activations {input.activations:q}"
        " --thresholds {input.thresholds:q}"
        " --concepts {input.concepts:q}"
        " {params.choices}"
        " {params.fields}"
        " {params.shuffle}"
        " --threads {threads}"
        " --gpus {resources.gpu}"
        " --out {output:q}"
        " 2> {log:q}"


rule name_units:
    """Name each unit after its best concept."""
    input:
        tally=f"{NETWORK}/tally.h5",
        concepts=concepts,
    output:
        f"{NETWORK}/units.csv",
    log:
        f"{LOGS}/name_units.log",
    benchmark:
        f"{TIMES}/name_units.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.dissect.name_units"),
        rule=EXPERIMENT.choices("detector_iou", "detector_rule"),
    shell:
        "python -m workflow_scripts.dissect.name_units"
        " --tally {input.tally:q}"
        " --concepts {input.concepts:q}"
        " {params.rule}"
        " --out {output:q}"
        " 2> {log:q}"


rule validate_units:
    """Compare each unit's IoU with chance, and its name between halves of the pictures."""
    input:
        activations=of_network("activations.h5"),
        thresholds=of_network("thresholds.h5"),
        concepts=concepts,
        fields=fields,
    output:
        nulls=f"{NETWORK}/nulls.csv",
        split=f"{NETWORK}/split.csv",
    log:
        f"{LOGS}/validate_units.log",
    benchmark:
        f"{TIMES}/validate_units.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: lambda wildcards: EXPERIMENT.threads("validate_units", network(wildcards))
    resources:
        gpu=lambda wildcards: EXPERIMENT.gpus("validate_units", network(wildcards)),
    params:
        code=code_fingerprint("workflow_scripts.dissect.validate_units"),
        shuffle=shuffle_argument,
        choices=EXPERIMENT.choices(
            "knots", "border", "mask", "counted_images", "planes", "detector_iou", "detector_rule"
        ),
        fields=fields_argument,
        permutations=EXPERIMENT.permutations(),
    shell:
        "python -m workflow_scripts.dissect.validate_units"
        " --activations {input.activations:q}"
        " --thresholds {input.thresholds:q}"
        " --concepts {input.concepts:q}"
        " {params.choices}"
        " {params.fields}"
        " {params.shuffle}"
        " {params.permutations}"
        " --threads {threads}"
        " --gpus {resources.gpu}"
        " --nulls {output.nulls:q}"
        " --split {output.split:q}"
        " 2> {log:q}"


rule rotate_units:
    """Count what random rotations of the network's layers detect."""
    input:
        network=f"{NETWORK}/network.pt",
        # A dump of candidates cannot be rotated, so the job makes its own dump of all maps.
        activations=[f"{NETWORK}/activations.h5"] if config["dissection"]["dump"] == "all" else [],
        concepts=concepts,
        fields=fields,
    output:
        f"{NETWORK}/rotations.csv",
    log:
        f"{LOGS}/rotate_units.log",
    benchmark:
        f"{TIMES}/rotate_units.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: EXPERIMENT.threads("rotate_units")
    resources:
        gpu=EXPERIMENT.gpus("rotate_units"),
    params:
        code=code_fingerprint("workflow_scripts.dissect.rotate_units"),
        settings=lambda wildcards: design(wildcards).settings_text,
        arguments=lambda wildcards: EXPERIMENT.dump(design(wildcards)),
        activations=lambda wildcards, input: named_arguments(activations=input.activations) if input.activations else "",
        turns=lambda wildcards: or_exit(EXPERIMENT.turns, key(wildcards)),
        choices=EXPERIMENT.choices(
            *("quantile", "quantile_of", "knots", "border", "mask", "counted_images", "planes"),
            *("detector_iou", "detector_rule"),
        ),
        fields=fields_argument,
    shell:
        "python -m workflow_scripts.dissect.rotate_units"
        " --network {input.network:q}"
        " --settings {params.settings:q}"
        " {params.arguments}"
        " --concepts {input.concepts:q}"
        " {params.activations}"
        " --replicate {wildcards.replicate}"
        " {params.turns}"
        " {params.choices}"
        " {params.fields}"
        " --threads {threads}"
        " --gpus {resources.gpu}"
        " --out {output:q}"
        " 2> {log:q}"


rule ablate_units:
    """Switch off the units that detect a class, and count what the network then no longer classifies correctly."""
    input:
        network=f"{NETWORK}/network.pt",
        units=f"{NETWORK}/units.csv",
        concepts=concepts,
        packed=lambda wildcards: EXPERIMENT.pictures("test") if EXPERIMENT.tests_on_images(network(wildcards)) else [],
    output:
        ablation=f"{NETWORK}/ablation.csv",
        classes=f"{NETWORK}/classes.csv",
    log:
        f"{LOGS}/ablate_units.log",
    benchmark:
        f"{TIMES}/ablate_units.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: lambda wildcards: EXPERIMENT.threads("ablate_units", network(wildcards))
    resources:
        gpu=EXPERIMENT.gpus("ablate_units"),
    params:
        code=code_fingerprint("workflow_scripts.dissect.ablate_units"),
        settings=lambda wildcards: design(wildcards).settings_text,
        packed=lambda wildcards, input: named_arguments(packed=input.packed) if input.packed else "",
        arguments=lambda wildcards: EXPERIMENT.ablation(network(wildcards), FOLDERS.get("test")),
        contents=lambda wildcards, input: "" if input.packed else or_exit(CONTENTS.test_pictures, design(wildcards)),
    shell:
        "python -m workflow_scripts.dissect.ablate_units"
        " --network {input.network:q}"
        " --settings {params.settings:q}"
        " --units {input.units:q}"
        " --concepts {input.concepts:q}"
        " {params.packed}"
        " {params.arguments}"
        " --replicate {wildcards.replicate}"
        " --workers {threads}"
        " --gpus {resources.gpu}"
        " --out {output.ablation:q}"
        " --out-classes {output.classes:q}"
        " 2> {log:q}"


rule sweep_units:
    """Count the network's units again under other choices of the dissection."""
    input:
        activations=of_network("activations.h5"),
        concepts=concepts,
        fields=lambda wildcards: EXPERIMENT.sweep_fields(design(wildcards)),
    output:
        f"{NETWORK}/sweep.csv",
    log:
        f"{LOGS}/sweep_units.log",
    benchmark:
        f"{TIMES}/sweep_units.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: lambda wildcards: EXPERIMENT.threads("sweep_units", network(wildcards))
    resources:
        gpu=lambda wildcards: EXPERIMENT.gpus("sweep_units", network(wildcards)),
    params:
        code=code_fingerprint("workflow_scripts.dissect.sweep_units"),
        shuffle=shuffle_argument,
        variations=EXPERIMENT.sweep(),
        fields=fields_argument,
    shell:
        "python -m workflow_scripts.dissect.sweep_units"
        " --activations {input.activations:q}"
        " --concepts {input.concepts:q}"
        " {params.variations}"
        " {params.fields}"
        " {params.shuffle}"
        " --threads {threads}"
        " --gpus {resources.gpu}"
        " --out {output:q}"
        " 2> {log:q}"
