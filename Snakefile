from snakemake.utils import min_version

min_version("9.12")


configfile: "config.yaml"


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/bring.smk"
include: "rules/dissect.smk"
include: "rules/figures.smk"


# On a cluster these run where snakemake does: seconds each, or they need the internet.
localrules:
    fetch_archive,
    import_network,
    check_network,
    find_receptive_fields,
    collect,
    draw_figures,
    compare_published,


rule all:
    default_target: True
    input:
        expand(f"{DATA}/network{{entry}}.json", entry=ENTRIES),
        f"{DATA}/concepts.verified.json",
        tables(),
        figures("pdf", "svg", "png"),


onstart:
    require_source()
    require_cluster()
