"""Networks of the user's own: read, pruned once, and measured.

In:  files that the config's arms of the recipes `brought` and `prune_once` name
Out: <arm>/replicate_<r>/level_<n>/network.pt and metrics.json
"""

import json


rule import_network:
    """Build a network with its constructor, and read its weights and masks from files."""
    output:
        f"{NETWORK}/network.pt",
    log:
        f"{LOGS}/import_network.log",
    benchmark:
        f"{TIMES}/import_network.tsv"
    wildcard_constraints:
        arm=EXPERIMENT.arms_of("import_network"),
    priority: 10
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.networks.import_network"),
        settings=lambda wildcards: design(wildcards).settings_text,
        weights=lambda wildcards: json.dumps(network(wildcards).weights, sort_keys=True),
        masks=lambda wildcards: named_arguments(masks=network(wildcards).masks) if network(wildcards).masks else "",
        reading=lambda wildcards: json.dumps(network(wildcards).reading, sort_keys=True),
        contents=lambda wildcards: or_exit(CONTENTS.network, network(wildcards)),
        shown=lambda wildcards: named_arguments(**design(wildcards).shown),
    shell:
        "python -m workflow_scripts.networks.import_network"
        " --settings {params.settings:q}"
        " --weights {params.weights:q}"
        " {params.masks}"
        " --reading {params.reading:q}"
        " --seed {wildcards.replicate}"
        " {params.shown}"
        " --out {output:q}"
        " 2> {log:q}"


rule prune_once:
    """Prune a network to a density, without training it again."""
    input:
        parent=of_parent("network.pt"),
    output:
        f"{NETWORK}/network.pt",
    log:
        f"{LOGS}/prune_once.log",
    benchmark:
        f"{TIMES}/prune_once.tsv"
    wildcard_constraints:
        arm=EXPERIMENT.arms_of("prune_once"),
    priority: 10
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.train.prune_once"),
        settings=lambda wildcards: design(wildcards).settings_text,
        method=lambda wildcards: network(wildcards).method,
        density=lambda wildcards: network(wildcards).density,
        exempt=lambda wildcards: list(network(wildcards).exempt),
    shell:
        "python -m workflow_scripts.train.prune_once"
        " --network {input.parent:q}"
        " --settings {params.settings:q}"
        " --method {params.method}"
        " --density {params.density}"
        " --exempt {params.exempt:q}"
        " --seed {wildcards.replicate}"
        " --out {output:q}"
        " 2> {log:q}"


rule measure_network:
    """Count the weights that remain in a network, and test it if there are pictures for that."""
    input:
        network=f"{NETWORK}/network.pt",
    output:
        f"{NETWORK}/metrics.json",
    log:
        f"{LOGS}/measure_network.log",
    benchmark:
        f"{TIMES}/measure_network.tsv"
    wildcard_constraints:
        arm=EXPERIMENT.arms_of("import_network", "prune_once"),
    conda:
        "../envs/workflow.yaml"
    threads: lambda wildcards: EXPERIMENT.threads("measure_network", network(wildcards))
    resources:
        gpu=lambda wildcards: EXPERIMENT.gpus("measure_network", network(wildcards)),
    params:
        code=code_fingerprint("workflow_scripts.train.measure_network"),
        settings=lambda wildcards: design(wildcards).settings_text,
        preprocessing=lambda wildcards: json.dumps(design(wildcards).preprocessing, sort_keys=True),
        density=lambda wildcards: EXPERIMENT.stated_density(network(wildcards)),
        test=lambda wildcards: EXPERIMENT.test_pictures(design(wildcards)),
        contents=lambda wildcards: or_exit(CONTENTS.test_pictures, design(wildcards)),
    shell:
        "python -m workflow_scripts.train.measure_network"
        " --network {input.network:q}"
        " --settings {params.settings:q}"
        " {params.density}"
        " {params.test}"
        " --preprocessing {params.preprocessing:q}"
        " --workers {threads}"
        " --gpus {resources.gpu}"
        " --out {output:q}"
        " 2> {log:q}"
