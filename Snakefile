from snakemake.utils import min_version

min_version("9.19")


report: "report/workflow.rst"


include: "rules/common.smk"


rule all:
    input:
        EXPERIMENT.tables(),
        EXPERIMENT.figures("pdf", "svg", "png"),
        EXPERIMENT.all_drawn(),
        f"{GALLERY}/index.html",
        f"{RESULTS}/costs.csv",
        f"{RESULTS}/report.html",
        f"{RESULTS}/checksums.sha256",


include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/networks.smk"
include: "rules/dissect.smk"
include: "rules/figures.smk"
include: "rules/gallery.smk"


onstart:
    or_exit(require_executor, workflow, GPUS_WANTED)
    or_exit(EXPERIMENT.require_source)
    or_exit(require_room_for_temporary_files)
    jobs = list(workflow.dag.needrun_jobs())
    or_exit(require_writable, (path for job in jobs for path in job.output))
    or_exit(require_no_future, (path for job in jobs for path in job.input))
    if TERMINAL:
        TERMINAL.watch()


onsuccess:
    show_summary()


onerror:
    logger.error(FAILURES.tell(workflow, EXPERIMENT.density, log))
    if TERMINAL:
        TERMINAL.failed = True
