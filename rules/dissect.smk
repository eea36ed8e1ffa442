"""Network dissection of every network.

In:  <network>/network.pt, data/concepts*.h5
Out: <network>/activations.h5, thresholds.h5, tally.h5, units.csv
"""


rule check_network:
    """Find out at once whether the network can be pruned to the end and dissected."""
    input:
        code=code_of("workflow_scripts.dissect.check_network"),
    output:
        f"{DATA}/network{{entry}}.json",
    log:
        f"{RESULTS}/logs/data/check_network{{entry}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/check_network{{entry}}.tsv"
    # Nothing needs the output: it only has to come first, and to fail if something is wrong, which no retry mends.
    priority: 30
    retries: 0
    conda:
        "../envs/workflow.yaml"
    params:
        code=contents_of_code(code_of("workflow_scripts.dissect.check_network")),
        arguments=lambda wildcards: named_arguments(
            network=settings_of(ENTRIES[wildcards.entry]),
            size=ENTRIES[wildcards.entry].preprocessing["size"],
            layers=ENTRIES[wildcards.entry].layers,
            exempt=config["one_shot" if NETWORKS else "pruning"]["exempt"],
            levels=0 if NETWORKS else config["pruning"]["levels"],
            fraction=config["pruning"]["fraction"],
        ),
    shell:
        "python -m workflow_scripts.dissect.check_network {params.arguments} --out {output:q} 2> {log:q}"


rule find_receptive_fields:
    """Find where in the picture the units of each layer look."""
    input:
        code=code_of("workflow_scripts.dissect.find_receptive_fields"),
    output:
        f"{DATA}/receptive_fields{{entry}}.json",
    log:
        f"{RESULTS}/logs/data/find_receptive_fields{{entry}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/find_receptive_fields{{entry}}.tsv"
    retries: 0
    conda:
        "../envs/workflow.yaml"
    params:
        code=contents_of_code(code_of("workflow_scripts.dissect.find_receptive_fields")),
        network=lambda wildcards: settings_of(ENTRIES[wildcards.entry]),
        size=lambda wildcards: ENTRIES[wildcards.entry].preprocessing["size"],
        layers=lambda wildcards: list(ENTRIES[wildcards.entry].layers),
    shell:
        "python -m workflow_scripts.dissect.find_receptive_fields"
        " --network {params.network:q}"
        " --size {params.size}"
        " --layers {params.layers:q}"
        " --out {output:q}"
        " 2> {log:q}"


rule dump_activations:
    """Run the network over the concept pictures and keep its maps."""
    input:
        network=f"{NETWORK}/network.pt",
        concepts=lambda wildcards: concepts_of(entry_of(wildcards)),
        code=code_of("workflow_scripts.dissect.dump_activations"),
    output:
        f"{NETWORK}/activations.h5",
    log:
        f"{RESULTS}/logs/{{arm}}/replicate_{{replicate}}/level_{{level}}/dump_activations.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{arm}}/replicate_{{replicate}}/level_{{level}}/dump_activations.tsv"
    conda:
        "../envs/workflow.yaml"
    resources:
        gpu=min(GPUS, 1),
    params:
        code=contents_of_code(code_of("workflow_scripts.dissect.dump_activations")),
        settings=lambda wildcards: settings_of(entry_of(wildcards)),
        arguments=lambda wildcards: named_arguments(
            layers=entry_of(wildcards).layers,
            mean=entry_of(wildcards).preprocessing["mean"],
            std=entry_of(wildcards).preprocessing["std"],
            precision=config["dissection"]["precision"],
            forward=config["dissection"]["forward"],
        ),
        candidates=candidates(),
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
        concepts=lambda wildcards: concepts_of(entry_of(wildcards)),
        fields=sample_fields,
        code=code_of("workflow_scripts.dissect.find_thresholds"),
    output:
        f"{NETWORK}/thresholds.h5",
    log:
        f"{RESULTS}/logs/{{arm}}/replicate_{{replicate}}/level_{{level}}/find_thresholds.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{arm}}/replicate_{{replicate}}/level_{{level}}/find_thresholds.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 8 if GPUS else 1  # a GPU counts faster than few threads decode
    resources:
        gpu=min(GPUS, 1),
    params:
        code=contents_of_code(code_of("workflow_scripts.dissect.find_thresholds")),
        quantile=config["dissection"]["quantile"],
        samples=samples(),
        fields=lambda wildcards, input: f"--receptive-fields {input.fields}" if input.fields else "",
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
        activations=dissected("activations.h5"),
        thresholds=dissected("thresholds.h5"),
        concepts=lambda wildcards: concepts_of(entry_of(wildcards)),
        fields=receptive_fields,
        code=code_of("workflow_scripts.dissect.tally_units"),
    output:
        f"{NETWORK}/tally.h5",
    log:
        f"{RESULTS}/logs/{{arm}}/replicate_{{replicate}}/level_{{level}}/tally_units.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{arm}}/replicate_{{replicate}}/level_{{level}}/tally_units.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: lambda wildcards: 8 if GPUS and not shuffled(wildcards) else 1
    resources:
        # In one job with the dense network's tally, the control's would ask for a second GPU.
        gpu=lambda wildcards: 0 if shuffled(wildcards) else min(GPUS, 1),
    params:
        code=contents_of_code(code_of("workflow_scripts.dissect.tally_units")),
        shuffle=lambda wildcards: f"--shuffle-labels {wildcards.replicate}" if shuffled(wildcards) else "",
        choices=choices("knots", "border", "mask", "counted_images", "planes"),
        fields=lambda wildcards, input: f"--receptive-fields {input.fields}" if input.fields else "",
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
        concepts=lambda wildcards: concepts_of(entry_of(wildcards)),
        code=code_of("workflow_scripts.dissect.name_units"),
    output:
        f"{NETWORK}/units.csv",
    log:
        f"{RESULTS}/logs/{{arm}}/replicate_{{replicate}}/level_{{level}}/name_units.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{arm}}/replicate_{{replicate}}/level_{{level}}/name_units.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        code=contents_of_code(code_of("workflow_scripts.dissect.name_units")),
        rule=choices("detector_iou", "detector_rule"),
    shell:
        "python -m workflow_scripts.dissect.name_units"
        " --tally {input.tally:q}"
        " --concepts {input.concepts:q}"
        " {params.rule}"
        " --out {output:q}"
        " 2> {log:q}"
