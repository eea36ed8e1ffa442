"""Pictures and labelled concepts.

In:  the config's world, or the user's folders and archives
Out: data/train.h5, data/test.h5 (class folders, packed) and data/concepts.h5 (Broden's layout, packed)
"""


rule make_images:
    """Draw the generated world's pictures to classify."""
    input:
        code=code_of("workflow_scripts.data.make_images"),
    output:
        folder=directory(f"{DATA}/shapes/images"),
        checksums=f"{DATA}/shapes/images.sha256",
    log:
        f"{RESULTS}/logs/data/make_images.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/make_images.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 8
    params:
        seed=config["world"]["seed"],
        train=config["world"]["train_images"],
        test=config["world"]["test_images"],
        size=config["images"]["size"],
    shell:
        "python -m workflow_scripts.data.make_images"
        " --seed {params.seed}"
        " --size {params.size}"
        " --train {params.train}"
        " --test {params.test}"
        " --processes {threads}"
        " --out {output.folder:q}"
        " --checksums {output.checksums:q}"
        " 2> {log:q}"


rule make_concepts:
    """Draw the generated world's labelled pictures."""
    input:
        code=code_of("workflow_scripts.data.make_concepts"),
    output:
        folder=directory(f"{DATA}/shapes/concepts"),
        checksums=f"{DATA}/shapes/concepts.sha256",
    log:
        f"{RESULTS}/logs/data/make_concepts.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/make_concepts.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 8
    params:
        seed=config["world"]["seed"],
        pictures=config["world"]["concept_images"],
        size=config["images"]["size"],
    shell:
        "python -m workflow_scripts.data.make_concepts"
        " --seed {params.seed}"
        " --size {params.size}"
        " --count {params.pictures}"
        " --processes {threads}"
        " --out {output.folder:q}"
        " --checksums {output.checksums:q}"
        " 2> {log:q}"


rule unpack_archive:
    """Unpack an archive of pictures or of concepts."""
    input:
        archive=lambda wildcards: config[wildcards.kind]["source"],
        code=code_of("workflow_scripts.data.unpack_archive"),
    output:
        folder=directory(f"{DATA}/{{kind}}"),
        checksums=f"{DATA}/{{kind}}.sha256",
    log:
        f"{RESULTS}/logs/data/unpack_{{kind}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/unpack_{{kind}}.tsv"
    wildcard_constraints:
        kind="images|concepts",
    conda:
        "../envs/workflow.yaml"
    params:
        contents=lambda wildcards: remembered(config[wildcards.kind]["source"], f"{wildcards.kind}_archive"),
    shell:
        "python -m workflow_scripts.data.unpack_archive"
        " --archive {input.archive:q}"
        " --out {output.folder:q}"
        " --checksums {output.checksums:q}"
        " 2> {log:q}"


rule pack_images:
    """Decode and resize the pictures to classify, once for all networks."""
    input:
        source=made_source("images"),
        code=code_of("workflow_scripts.data.pack_images"),
    output:
        f"{DATA}/{{split}}.h5",
    log:
        f"{RESULTS}/logs/data/pack_{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/pack_{{split}}.tsv"
    priority: 20
    conda:
        "../envs/workflow.yaml"
    params:
        folder=lambda wildcards: packed_folder("images", wildcards.split),
        contents=lambda wildcards: own_contents("images", wildcards.split),
        size=config["images"]["size"],
        per_class=lambda wildcards: (
            f"--per-class {config['images']['per_class']}"
            if wildcards.split == "train" and config["images"]["per_class"] != "all"
            else ""
        ),
    shell:
        "python -m workflow_scripts.data.pack_images"
        " --folder {params.folder:q}"
        " --size {params.size}"
        " {params.per_class}"
        " --out {output:q}"
        " 2> {log:q}"


rule pack_concepts:
    """Decode the concept pictures and their label maps, once for all networks."""
    input:
        source=made_source("concepts"),
        code=code_of("workflow_scripts.data.pack_concepts"),
    output:
        f"{DATA}/concepts.h5",
    log:
        f"{RESULTS}/logs/data/pack_concepts.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/pack_concepts.tsv"
    # Early: a flaw in the data should show before hours of training, not after.
    priority: 20
    conda:
        "../envs/workflow.yaml"
    params:
        folder=lambda wildcards: packed_folder("concepts"),
        contents=own_contents("concepts"),
        size=config["images"]["size"],
    shell:
        "python -m workflow_scripts.data.pack_concepts"
        " --folder {params.folder:q}"
        " --image-size {params.size}"
        " --out {output:q}"
        " 2> {log:q}"
