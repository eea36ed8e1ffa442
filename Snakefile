from snakemake.utils import min_version

min_version("9.12")


configfile: "config.yaml"


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/networks.smk"
include: "rules/dissect.smk"
include: "rules/figures.smk"
include: "rules/gallery.smk"


# On a cluster these run where snakemake does: seconds each, or they need the internet.
localrules:
    fetch_archive,
    import_network,
    check_network,
    find_receptive_fields,
    collect,
    draw_figures,
    compare_published,
    write_gallery,
    sum_costs,


rule all:
    default_target: True
    input:
        expand(f"{DATA}/network{{entry}}.json", entry=ENTRIES),
        f"{DATA}/concepts.verified.json",
        tables(),
        figures("pdf", "svg", "png"),
        drawn_units(),
        f"{GALLERY}/index.html",
        f"{RESULTS}/costs.csv",
        f"{RESULTS}/report.html",


clear_report()
terminal = use_terminal(workflow, config | {"gpus": GPUS}, share_left)


onstart:
    require_source()
    require_cluster()
    if terminal:
        terminal.watch()


onsuccess:
    finish_run()


onerror:
    logger.error(tell_failures(workflow, share_left))
