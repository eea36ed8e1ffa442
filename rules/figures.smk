"""Tables and figures.

In:  every network's metrics.json and units.csv
Out: tables/*.csv, figures/*.{pdf,svg,png}
"""


rule collect:
    """Gather what was measured of every network into tidy tables."""
    input:
        metrics=[metrics_file(*network) for network in networks()],
        units=[network_file(*network, "units.csv") for network in networks()],
        code=code_of("workflow_scripts.figures.collect"),
    output:
        **{
            name: report(
                f"{RESULTS}/tables/{name}.csv",
                caption=f"../report/{name}.rst",
                category="Tables",
                labels={"table": name},
            )
            for name in TABLES
        },
    log:
        f"{RESULTS}/logs/figures/collect.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures/collect.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        networks=[
            f"--network {arm} {replicate} {level} {metrics_file(arm, replicate, level)}"
            f" {network_file(arm, replicate, level, 'units.csv')}"
            for arm, replicate, level in networks()
        ],
        detector_iou=config["dissection"]["detector_iou"],
        detector_rule=config["dissection"]["detector_rule"],
    shell:
        "python -m workflow_scripts.figures.collect"
        " {params.networks}"
        " --detector-iou {params.detector_iou}"
        " --detector-rule {params.detector_rule}"
        " --tables $(dirname {output.networks:q})"
        " 2> {log:q}"


rule draw_figures:
    """Draw every figure from the tables alone."""
    input:
        **{name: f"{RESULTS}/tables/{name}.csv" for name in TABLES},
        code=code_of("workflow_scripts.figures.draw_figures"),
    output:
        figures("pdf", "png"),
        **{
            name: report(
                f"{RESULTS}/figures/{name}.svg",
                caption=f"../report/{name}.rst",
                category="Figures",
                labels={"figure": name},
            )
            for name in FIGURES
        },
    log:
        f"{RESULTS}/logs/figures/draw_figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures/draw_figures.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        detector_iou=config["dissection"]["detector_iou"],
    shell:
        "python -m workflow_scripts.figures.draw_figures"
        " --tables $(dirname {input.networks:q})"
        " --detector-iou {params.detector_iou}"
        " --out $(dirname {output.overview:q})"
        " 2> {log:q}"
