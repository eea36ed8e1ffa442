"""The gallery of units: a page that opens from disk.

In:  <network>/activations.h5, tally.h5, nulls.csv, data/concepts*.h5, tables/{networks,arms,units}.csv
Out: gallery/index.html and what it shows: gallery/networks/<network>/, gallery/concepts/, gallery/pictures/
"""

DRAWN = f"networks/{FOLDER}"  # within the gallery
ALL_DRAWN = EXPERIMENT.all_drawn()
TILES = [config["gallery"][key] for key in ("images", "tile", "tile_bytes")]
ENLARGED = config["gallery"]["enlarged_pixels"]
SITE = [file.relative_to(ROOT).as_posix() for file in site_files()]


rule draw_units:
    """Draw a network's units for the gallery: their top pictures and best concepts."""
    input:
        activations=of_network("activations.h5"),
        tally=f"{NETWORK}/tally.h5",
        concepts=concepts,
        nulls=f"{NETWORK}/nulls.csv",
        fields=fields,
    output:
        units=directory(f"{GALLERY}/{DRAWN}"),
        checksums=f"{GALLERY}/{DRAWN}.sha256",
    log:
        f"{LOGS}/draw_units.log",
    benchmark:
        f"{TIMES}/draw_units.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.gallery.draw_units"),
        tiles=TILES,
        enlarged="--enlarged" if ENLARGED else "",
        fields=fields_argument,
        network=DRAWN,
    shell:
        "python -m workflow_scripts.gallery.draw_units"
        " --activations {input.activations:q}"
        " --tally {input.tally:q}"
        " --concepts {input.concepts:q}"
        " --nulls {input.nulls:q}"
        " {params.fields}"
        " --tiles {params.tiles}"
        " {params.enlarged}"
        " --network {params.network:q}"
        " --out {output.units:q}"
        " 2> {log:q}"


rule draw_concepts:
    """Draw examples of every label for the gallery."""
    input:
        concepts=EXPERIMENT.concepts(EXPERIMENT.first_design()),
    output:
        examples=directory(f"{GALLERY}/concepts"),
        checksums=f"{GALLERY}/concepts.sha256",
    log:
        f"{RESULTS}/logs/gallery/draw_concepts.log",
    benchmark:
        f"{RESULTS}/benchmarks/gallery/draw_concepts.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.gallery.draw_concepts"),
        tiles=TILES,
    shell:
        "python -m workflow_scripts.gallery.draw_concepts"
        " --concepts {input.concepts:q}"
        " --tiles {params.tiles}"
        " --out {output.examples:q}"
        " 2> {log:q}"


rule draw_pictures:
    """Draw each picture that the gallery enlarges, once."""
    input:
        concepts=EXPERIMENT.concepts(EXPERIMENT.first_design()),
        drawn=[f"{folder}.sha256" for folder in ALL_DRAWN],
    output:
        pictures=directory(f"{GALLERY}/pictures"),
        checksums=f"{GALLERY}/pictures.sha256",
    log:
        f"{RESULTS}/logs/gallery/draw_pictures.log",
    benchmark:
        f"{RESULTS}/benchmarks/gallery/draw_pictures.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: EXPERIMENT.threads("draw_pictures")
    params:
        code=code_fingerprint("workflow_scripts.gallery.draw_pictures"),
        gallery=verbatim(placed(GALLERY)),
        networks=EXPERIMENT.drawn_networks(),
        pixels=ENLARGED,
    shell:
        "python -m workflow_scripts.gallery.draw_pictures"
        " --concepts {input.concepts:q}"
        " --gallery {params.gallery:q}"
        " {params.networks}"
        " --pixels {params.pixels}"
        " --threads {threads}"
        " --out {output.pictures:q}"
        " 2> {log:q}"


rule write_gallery:
    """Write the gallery's page, and its lists of networks and of detectors."""
    input:
        networks=f"{RESULTS}/tables/networks.csv",
        arms=f"{RESULTS}/tables/arms.csv",
        units=f"{RESULTS}/tables/units.csv",
        concepts=EXPERIMENT.concepts(EXPERIMENT.first_design()),
        drawn=[f"{folder}.sha256" for folder in (*ALL_DRAWN, *EXPERIMENT.drawn_once())],
    output:
        [f"{GALLERY}/{Path(file).name}" for file in SITE],
        experiment=f"{GALLERY}/experiment.js",
        detectors=f"{GALLERY}/detectors.js",
    log:
        f"{RESULTS}/logs/gallery/write_gallery.log",
    benchmark:
        f"{RESULTS}/benchmarks/gallery/write_gallery.tsv"
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.gallery.write_gallery", files=SITE),
        experiment=EXPERIMENT.gallery_settings(),
        other_names=EXPERIMENT.other_names(),
        shown=EXPERIMENT.chosen_arms("gallery"),
    shell:
        "python -m workflow_scripts.gallery.write_gallery"
        " --experiment {params.experiment:q}"
        ' --tables "$(dirname {input.networks:q})"'
        " --concepts {input.concepts:q}"
        " {params.other_names}"
        " {params.shown}"
        ' --gallery "$(dirname {output.experiment:q})"'
        " 2> {log:q}"
