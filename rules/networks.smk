"""Networks of the user's own, in place of trained ones: read, pruned once, and measured.

In:  what the config's `networks` name
Out: <arm>/replicate_<r>/level_<n>/network.pt and metrics.json
"""


rule import_network:
    """Read a network: a constructor's, with weights and masks from files."""
    input:
        files=lambda wildcards: ancient(own_files(brought(wildcards))),
        code=code_of("workflow_scripts.networks.import_network"),
    output:
        f"{NETWORK}/network.pt",
    log:
        f"{RESULTS}/logs/{{arm}}/replicate_{{replicate}}/level_{{level}}/import_network.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{arm}}/replicate_{{replicate}}/level_{{level}}/import_network.tsv"
    wildcard_constraints:
        arm=arms("imported"),
    priority: 10
    conda:
        "../envs/workflow.yaml"
    params:
        code=contents_of_code(code_of("workflow_scripts.networks.import_network")),
        settings=lambda wildcards: settings_of(entry_of(wildcards)),
        weights=lambda wildcards: json.dumps(brought(wildcards).weights, sort_keys=True),
        masks=lambda wildcards: shlex.join(["--masks", brought(wildcards).masks]) if brought(wildcards).masks else "",
        reading=lambda wildcards: json.dumps(brought(wildcards).reading, sort_keys=True),
        contents=lambda wildcards: network_contents(brought(wildcards)),
        size=lambda wildcards: entry_of(wildcards).preprocessing["size"],
    shell:
        "python -m workflow_scripts.networks.import_network"
        " --settings {params.settings:q}"
        " --weights {params.weights:q}"
        " {params.masks}"
        " --reading {params.reading:q}"
        " --seed {wildcards.replicate}"
        " --size {params.size}"
        " --out {output:q}"
        " 2> {log:q}"


rule prune_once:
    """Prune a network to a density, without training it again."""
    input:
        parent=lambda wildcards: network_file(*brought(wildcards).parent, "network.pt"),
        code=code_of("workflow_scripts.train.prune_once"),
    output:
        f"{NETWORK}/network.pt",
    log:
        f"{RESULTS}/logs/{{arm}}/replicate_{{replicate}}/level_{{level}}/prune_once.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{arm}}/replicate_{{replicate}}/level_{{level}}/prune_once.tsv"
    wildcard_constraints:
        arm=arms("pruned"),
    priority: 10
    conda:
        "../envs/workflow.yaml"
    params:
        code=contents_of_code(code_of("workflow_scripts.train.prune_once")),
        settings=lambda wildcards: settings_of(entry_of(wildcards)),
        method=lambda wildcards: brought(wildcards).method,
        density=lambda wildcards: brought(wildcards).density,
        exempt=config["one_shot"]["exempt"],
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
    """Count what remains of a network, and test it where there are pictures for that."""
    input:
        network=f"{NETWORK}/network.pt",
        code=code_of("workflow_scripts.train.measure_network"),
    output:
        f"{NETWORK}/metrics.json",
    log:
        f"{RESULTS}/logs/{{arm}}/replicate_{{replicate}}/level_{{level}}/measure_network.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{arm}}/replicate_{{replicate}}/level_{{level}}/measure_network.tsv"
    wildcard_constraints:
        arm=arms("imported", "pruned"),
    conda:
        "../envs/workflow.yaml"
    threads: lambda wildcards: config["images"]["workers"] if tested(wildcards) else 1
    resources:
        gpu=lambda wildcards: min(GPUS, 1) if tested(wildcards) else 0,
    params:
        code=contents_of_code(code_of("workflow_scripts.train.measure_network")),
        settings=lambda wildcards: settings_of(entry_of(wildcards)),
        preprocessing=lambda wildcards: json.dumps(entry_of(wildcards).preprocessing, sort_keys=True),
        density=lambda wildcards: stated_density(brought(wildcards)),
        test=lambda wildcards: test_pictures(entry_of(wildcards)),
        contents=lambda wildcards: test_contents(entry_of(wildcards)),
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
