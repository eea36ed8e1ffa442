"""Pictures and labelled concepts.

In:  the config's world, or the user's folders and archives
Out: data/train.h5, data/test.h5 (class folders, packed) and data/concepts.h5 (Broden's layout, packed; for networks of
     the user's own data/concepts_<size>_<interpolation>.h5)
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
        code=contents_of_code(code_of("workflow_scripts.data.make_images")),
        arguments=named_arguments(
            seed=config["world"]["seed"],
            size=config["images"]["size"],
            train=config["world"]["train_images"],
            test=config["world"]["test_images"],
        ),
    shell:
        "python -m workflow_scripts.data.make_images"
        " {params.arguments}"
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
        code=contents_of_code(code_of("workflow_scripts.data.make_concepts")),
        arguments=named_arguments(
            seed=config["world"]["seed"], size=config["images"]["size"], count=config["world"]["concept_images"]
        ),
    shell:
        "python -m workflow_scripts.data.make_concepts"
        " {params.arguments}"
        " --processes {threads}"
        " --out {output.folder:q}"
        " --checksums {output.checksums:q}"
        " 2> {log:q}"


rule fetch_archive:
    """Fetch an archive of pictures or of concepts, unless it is there, and check it."""
    input:
        code=code_of("workflow_scripts.data.fetch_archive"),
    output:
        f"{DATA}/{{kind}}.fetched.json",
    log:
        f"{RESULTS}/logs/data/fetch_{{kind}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/fetch_{{kind}}.tsv"
    wildcard_constraints:
        kind="images|concepts",
    priority: 30
    conda:
        "../envs/workflow.yaml"
    params:
        code=contents_of_code(code_of("workflow_scripts.data.fetch_archive")),
        archive=lambda wildcards: config[wildcards.kind]["source"],
        addresses=lambda wildcards: config[wildcards.kind]["addresses"],
        checksum=lambda wildcards: config[wildcards.kind]["checksum"],
    shell:
        "python -m workflow_scripts.data.fetch_archive"
        " --archive {params.archive:q}"
        " --addresses {params.addresses:q}"
        " --checksum {params.checksum:q}"
        " --out {output:q}"
        " 2> {log:q}"


rule unpack_archive:
    """Unpack an archive of pictures or of concepts."""
    input:
        archive=lambda wildcards: archive(wildcards.kind),
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
        code=contents_of_code(code_of("workflow_scripts.data.unpack_archive")),
        source=lambda wildcards: config[wildcards.kind]["source"],
        contents=lambda wildcards: archive_contents(wildcards.kind),
    shell:
        "python -m workflow_scripts.data.unpack_archive"
        " --archive {params.source:q}"
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
        code=contents_of_code(code_of("workflow_scripts.data.pack_images")),
        contents=lambda wildcards: own_contents("images", wildcards.split),
        arguments=lambda wildcards: named_arguments(
            folder=packed_folder("images", wildcards.split),
            size=config["images"]["size"],
            expect_classes=config["images"]["expect"]["classes"],
            expect_pictures=config["images"]["expect"][wildcards.split],
        ),
        per_class=lambda wildcards: (
            f"--per-class {config['images']['per_class']}"
            if wildcards.split == "train" and config["images"]["per_class"] != "all"
            else ""
        ),
    shell:
        "python -m workflow_scripts.data.pack_images"
        " {params.arguments}"
        " {params.per_class}"
        " --out {output:q}"
        " 2> {log:q}"


rule index_images:
    """List the pictures to classify that stay in their files, and read each once."""
    input:
        source=made_source("images"),
        code=code_of("workflow_scripts.data.index_images"),
    output:
        f"{DATA}/{{split}}_index.h5",
    log:
        f"{RESULTS}/logs/data/index_{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/index_{{split}}.tsv"
    priority: 30
    conda:
        "../envs/workflow.yaml"
    threads: config["images"]["workers"]
    params:
        code=contents_of_code(code_of("workflow_scripts.data.index_images")),
        arguments=lambda wildcards: named_arguments(
            folder=packed_folder("images", wildcards.split),
            classes_of=packed_folder("images", "train"),
            expect_classes=config["images"]["expect"]["classes"],
            expect_pictures=config["images"]["expect"][wildcards.split],
            unreadable=config["images"]["unreadable"],
        ),
        test_labels=lambda wildcards: test_labels(wildcards.split),
        test_label_contents=lambda wildcards: test_label_contents(wildcards.split),
    shell:
        "python -m workflow_scripts.data.index_images"
        " {params.arguments}"
        " {params.test_labels}"
        " --threads {threads}"
        " --out {output:q}"
        " 2> {log:q}"


rule pack_concepts:
    """Decode the concept pictures and their label maps, once for all networks."""
    input:
        source=made_source("concepts"),
        code=code_of("workflow_scripts.data.pack_concepts"),
    output:
        f"{DATA}/concepts{{view}}.h5",
    log:
        f"{RESULTS}/logs/data/pack_concepts{{view}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/pack_concepts{{view}}.tsv"
    # Early: a flaw in the data should show before hours of training, not after.
    priority: 20
    conda:
        "../envs/workflow.yaml"
    params:
        code=contents_of_code(code_of("workflow_scripts.data.pack_concepts")),
        folder=lambda wildcards: packed_folder("concepts"),
        contents=own_contents("concepts"),
        size=lambda wildcards: view_of(wildcards)["size"],
        interpolation=lambda wildcards: view_of(wildcards)["interpolation"],
    shell:
        "python -m workflow_scripts.data.pack_concepts"
        " --folder {params.folder:q}"
        " --image-size {params.size}"
        " --interpolation {params.interpolation}"
        " --out {output:q}"
        " 2> {log:q}"


rule verify_concepts:
    """Compare the concepts with what the config says of them."""
    input:
        concepts=concepts_of(next(iter(ENTRIES.values()))),
        code=code_of("workflow_scripts.data.verify_concepts"),
    output:
        f"{DATA}/concepts.verified.json",
    log:
        f"{RESULTS}/logs/data/verify_concepts.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/verify_concepts.tsv"
    # Nothing needs the output: it only has to come early, and to fail if something is wrong.
    priority: 30
    conda:
        "../envs/workflow.yaml"
    params:
        code=contents_of_code(code_of("workflow_scripts.data.verify_concepts")),
        folder=packed_folder("concepts"),
        counts=expected("concepts", "images", "labels"),
        totals=pixel_totals(),
        totals_contents=contents_of(config["concepts"]["pixel_totals"]),
    shell:
        "python -m workflow_scripts.data.verify_concepts"
        " --concepts {input.concepts:q}"
        " --folder {params.folder:q}"
        " {params.counts}"
        " {params.totals}"
        " --out {output:q}"
        " 2> {log:q}"
