"""Pictures and labelled concepts.

In:  the config's world, or the user's folders and archives
Out: data/train.h5, data/test.h5 (class folders, packed) and data/concepts.h5 (Broden's layout, packed; for networks of
     the user's own data/concepts_<size>_<interpolation>.h5)
"""


rule make_images:
    """Draw the generated world's pictures to classify."""
    output:
        folder=directory(f"{DATA}/shapes/images"),
        checksums=f"{DATA}/shapes/images.sha256",
    log:
        f"{RESULTS}/logs/data/make_images.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/make_images.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: EXPERIMENT.threads("make_images")
    params:
        code=code_fingerprint("workflow_scripts.data.make_images"),
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
    output:
        folder=directory(f"{DATA}/shapes/concepts"),
        checksums=f"{DATA}/shapes/concepts.sha256",
    log:
        f"{RESULTS}/logs/data/make_concepts.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/make_concepts.tsv"
    # Early, as in pack_concepts. On one core: a job that needs several cores would wait until no training runs, and all
    # dissections would wait for it.
    priority: 20
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.data.make_concepts"),
        arguments=named_arguments(
            seed=config["world"]["seed"], size=config["images"]["size"], count=config["world"]["concept_images"]
        ),
    shell:
        "python -m workflow_scripts.data.make_concepts"
        " {params.arguments}"
        " --processes 1"
        " --out {output.folder:q}"
        " --checksums {output.checksums:q}"
        " 2> {log:q}"


rule fetch_archive:
    """Fetch an archive of pictures or of concepts if it is missing, and check it."""
    output:
        f"{DATA}/{{kind}}.fetched.json",
    log:
        f"{RESULTS}/logs/data/fetch_{{kind}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/fetch_{{kind}}.tsv"
    wildcard_constraints:
        kind=KINDS,
    priority: 30
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.data.fetch_archive"),
        archive=lambda wildcards: EXPERIMENT.settings(wildcards.kind)["source"],
        addresses=lambda wildcards: EXPERIMENT.settings(wildcards.kind)["addresses"],
        checksum=lambda wildcards: EXPERIMENT.settings(wildcards.kind)["checksum"],
    shell:
        "python -m workflow_scripts.data.fetch_archive"
        " --archive={params.archive:q}"
        " --addresses {params.addresses:q}"
        " --checksum {params.checksum:q}"
        " --out {output:q}"
        " 2> {log:q}"


rule unpack_archive:
    """Unpack an archive of pictures or of concepts."""
    input:
        lambda wildcards: (
            f"{DATA}/{wildcards.kind}.fetched.json" if EXPERIMENT.settings(wildcards.kind)["addresses"] else []
        ),
    output:
        folder=directory(f"{DATA}/{{kind}}"),
        checksums=f"{DATA}/{{kind}}.sha256",
    log:
        f"{RESULTS}/logs/data/unpack_{{kind}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/unpack_{{kind}}.tsv"
    wildcard_constraints:
        kind=KINDS,
    # Early, as in pack_concepts.
    priority: 20
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.data.unpack_archive"),
        source=lambda wildcards: EXPERIMENT.settings(wildcards.kind)["source"],
        contents=lambda wildcards: or_exit(CONTENTS.archive, wildcards.kind),
    shell:
        "python -m workflow_scripts.data.unpack_archive"
        " --archive={params.source:q}"
        " --out {output.folder:q}"
        " --checksums {output.checksums:q}"
        " 2> {log:q}"


rule pack_images:
    """Decode and resize the pictures to classify, once for all networks."""
    input:
        made_source("images"),
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
        code=code_fingerprint("workflow_scripts.data.pack_images"),
        # The training pictures define the test pictures' classes.
        contents=lambda wildcards: [
            or_exit(CONTENTS.source, "images", split) for split in sorted({"train", wildcards.split})
        ],
        arguments=lambda wildcards: named_arguments(
            folder=packed_folder("images", wildcards.split),
            classes_of=packed_folder("images", "train"),
            size=config["images"]["size"],
            expect_classes=config["images"]["expect"]["classes"],
            expect_pictures=config["images"]["expect"][wildcards.split],
        ),
        per_class=lambda wildcards: (
            f"--per-class {config['images']['per_class']}"
            if wildcards.split == "train" and config["images"]["per_class"] != "all"
            else ""
        ),
        narrowed=verbatim(EXPERIMENT.narrowed()),
        test_labels=test_labels,
        label_contents=lambda wildcards: or_exit(CONTENTS.small_files, *EXPERIMENT.test_label_files(wildcards.split)),
    shell:
        "python -m workflow_scripts.data.pack_images"
        " {params.arguments}"
        " {params.per_class}"
        " {params.narrowed}"
        " {params.test_labels}"
        " --out {output:q}"
        " 2> {log:q}"


rule index_images:
    """List the pictures to classify that stay in their files, and read each of them once."""
    input:
        made_source("images"),
    output:
        f"{DATA}/{{split}}_index.h5",
    log:
        f"{RESULTS}/logs/data/index_{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/index_{{split}}.tsv"
    priority: 30
    conda:
        "../envs/workflow.yaml"
    threads: EXPERIMENT.threads("index_images")
    params:
        code=code_fingerprint("workflow_scripts.data.index_images"),
        arguments=lambda wildcards: named_arguments(
            folder=packed_folder("images", wildcards.split),
            classes_of=packed_folder("images", "train"),
            expect_classes=config["images"]["expect"]["classes"],
            expect_pictures=config["images"]["expect"][wildcards.split],
            unreadable=config["images"]["unreadable"],
        ),
        narrowed=verbatim(EXPERIMENT.narrowed()),
        test_labels=test_labels,
        label_contents=lambda wildcards: or_exit(CONTENTS.small_files, *EXPERIMENT.test_label_files(wildcards.split)),
    shell:
        "python -m workflow_scripts.data.index_images"
        " {params.arguments}"
        " {params.narrowed}"
        " {params.test_labels}"
        " --threads {threads}"
        " --out {output:q}"
        " 2> {log:q}"


rule pack_concepts:
    """Decode the concept pictures and their label maps, once for all networks."""
    input:
        made_concepts(),
    output:
        f"{DATA}/concepts{{view}}.h5",
    log:
        f"{RESULTS}/logs/data/pack_concepts{{view}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/pack_concepts{{view}}.tsv"
    # Early: a fault in the data should show before hours of training, not after.
    priority: 20
    conda:
        "../envs/workflow.yaml"
    threads: EXPERIMENT.threads("pack_concepts")
    params:
        code=code_fingerprint(
            "workflow_scripts.data.pack_concepts", files=files_in("workflow_scripts/data/concept_sets/tables", ".csv")
        ),
        # A function, because in a plain string {} would be a wildcard.
        pictures=lambda wildcards: EXPERIMENT.concept_pictures(packed_folder),
        contents=or_exit(CONTENTS.concepts),
        size=lambda wildcards: size_text(EXPERIMENT.view(wildcards.view)["size"]),
        interpolation=lambda wildcards: EXPERIMENT.view(wildcards.view)["interpolation"],
    shell:
        "python -m workflow_scripts.data.pack_concepts"
        " {params.pictures}"
        " --image-size {params.size}"
        " --interpolation {params.interpolation}"
        " --threads {threads}"
        " --out {output:q}"
        " 2> {log:q}"


rule verify_concepts:
    """Compare the concepts with what the config says about them."""
    input:
        concepts=EXPERIMENT.concepts(EXPERIMENT.first_design()),
    output:
        f"{DATA}/concepts.verified.json",
    log:
        f"{RESULTS}/logs/data/verify_concepts.log",
    benchmark:
        f"{RESULTS}/benchmarks/data/verify_concepts.tsv"
    # Nothing reads the output: the rule only has to run early, and to fail if something is wrong.
    priority: 30
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint(
            "workflow_scripts.data.verify_concepts", files=["workflow_scripts/data/broden1_224_label_pixels.csv"]
        ),
        folder=lambda wildcards: EXPERIMENT.concept_tables(packed_folder),
        counts=EXPERIMENT.expected("concepts", "images", "labels"),
        totals=verbatim(EXPERIMENT.pixel_totals()),
        totals_contents=or_exit(CONTENTS.small_files, config["concepts"]["pixel_totals"]),
    shell:
        "python -m workflow_scripts.data.verify_concepts"
        " --concepts {input.concepts:q}"
        " {params.folder}"
        " {params.counts}"
        " {params.totals}"
        " --out {output:q}"
        " 2> {log:q}"
