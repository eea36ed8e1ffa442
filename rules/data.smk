"""Pictures and labelled concepts.

In:  the config's world, or the user's folders and archives
Out: data/train.h5, data/test.h5 (class folders, packed) and data/concepts.h5 (Broden's layout, packed)
"""


rule make_shapes:
    """Draw the generated world, in the two layouts that real data come in."""
    input:
        code=code_of("workflow_scripts.data.make_shapes"),
    output:
        images=directory(f"{DATA}/shapes/images"),
        concepts=directory(f"{DATA}/shapes/concepts"),
    log:
        f"{RESULTS}/logs/data/make_shapes.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/make_shapes.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 8
    params:
        seed=config["world"]["seed"],
        train=config["world"]["train_images"],
        test=config["world"]["test_images"],
        concepts=config["world"]["concept_images"],
        size=config["images"]["size"],
    shell:
        "python -m workflow_scripts.data.make_shapes"
        " --seed {params.seed}"
        " --size {params.size}"
        " --train {params.train}"
        " --test {params.test}"
        " --concept-images {params.concepts}"
        " --processes {threads}"
        " --images {output.images:q}"
        " --concepts {output.concepts:q}"
        " 2> {log:q}"


rule unpack_archive:
    """Unpack an archive of pictures or of concepts."""
    input:
        archive=lambda wildcards: config[wildcards.kind]["source"],
        code=code_of("workflow_scripts.data.unpack_archive"),
    output:
        directory(f"{DATA}/{{kind}}"),
    log:
        f"{RESULTS}/logs/data/unpack_{{kind}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/unpack_{{kind}}.tsv"
    wildcard_constraints:
        kind="images|concepts",
    conda:
        "../envs/workflow.yaml"
    shell:
        "python -m workflow_scripts.data.unpack_archive"
        " --archive {input.archive:q}"
        " --out {output:q}"
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
        folder=lambda wildcards: str(Path(source_folder("images")) / config["images"][wildcards.split]),
        listing=own_listing("images"),
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
    # First of all: a flaw in the data should show before hours of training, not after.
    priority: 20
    conda:
        "../envs/workflow.yaml"
    params:
        folder=lambda wildcards: str(Path(source_folder("concepts")) / config["concepts"]["folder"]),
        listing=own_listing("concepts"),
        size=config["images"]["size"],
    shell:
        "python -m workflow_scripts.data.pack_concepts"
        " --folder {params.folder:q}"
        " --image-size {params.size}"
        " --out {output:q}"
        " 2> {log:q}"
