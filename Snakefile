from snakemake.utils import min_version

min_version("9.12")


configfile: "config.yaml"


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/dissect.smk"
include: "rules/figures.smk"


# On a cluster these run where snakemake does: seconds each, or they need the internet.
localrules:
    fetch_archive,
    check_network,
    find_receptive_fields,
    collect,
    draw_figures,


rule all:
    default_target: True
    input:
        f"{DATA}/network.json",
        f"{DATA}/concepts.verified.json",
        tables(),
        figures("pdf", "svg", "png"),


onstart:
    require_source()
    require_cluster()
