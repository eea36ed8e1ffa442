"""Tables and figures.

In:  every network's metrics.json and units.csv
Out: tables/*.csv, figures/*.{pdf,svg,png}, costs.csv
"""


rule collect:
    """Gather what was measured of every network into tidy tables."""
    input:
        metrics=[metrics_file(*network) for network in networks()],
        units=[units_file(*network) for network in networks()],
        code=code_of("workflow_scripts.tables.collect"),
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
        code=contents_of_code(code_of("workflow_scripts.tables.collect")),
        networks=[
            f"--network {arm} {replicate} {level} {metrics_file(arm, replicate, level)}"
            f" {units_file(arm, replicate, level)}"
            for arm, replicate, level in networks()
        ],
        rule=choices("detector_iou", "detector_rule"),
    shell:
        "python -m workflow_scripts.tables.collect"
        " {params.networks}"
        " {params.rule}"
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
        code=contents_of_code(code_of("workflow_scripts.figures.draw_figures")),
    shell:
        "python -m workflow_scripts.figures.draw_figures"
        " --tables $(dirname {input.networks:q})"
        " --out $(dirname {output.overview:q})"
        " 2> {log:q}"


rule compare_published:
    """Set counts that are published of a network beside this experiment's."""
    input:
        units=[units_file(*network.key) for network in published()],
        weights=[ancient(network.weights) for network in published() if isinstance(network.weights, str)],
        concepts=concepts_of(next(iter(ENTRIES.values()))),
        counts=PUBLISHED_COUNTS,
        code=code_of("workflow_scripts.tables.compare_published"),
    output:
        report(
            f"{RESULTS}/tables/published.csv",
            caption="../report/published.rst",
            category="Tables",
            labels={"table": "published"},
        ),
    log:
        f"{RESULTS}/logs/figures/compare_published.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures/compare_published.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        code=contents_of_code(code_of("workflow_scripts.tables.compare_published") + [PUBLISHED_COUNTS]),
        networks=[
            shlex.join(
                [
                    *("--network", network.arm, str(network.replicate), units_file(*network.key)),
                    *([network.weights] if isinstance(network.weights, str) else []),
                ]
            )
            for network in published()
        ],
        contents=lambda wildcards: [network_contents(network) for network in published()],
        dissection=section("dissection"),
    shell:
        "python -m workflow_scripts.tables.compare_published"
        " {params.networks}"
        " --concepts {input.concepts:q}"
        " --dissection {params.dissection:q}"
        " --out {output:q}"
        " 2> {log:q}"


rule sum_costs:
    """Add up what each rule took, last of all, and clear the place for the report."""
    input:
        tables(),
        figures("pdf", "svg", "png"),
        f"{GALLERY}/index.html",
        captions=CAPTIONS,
        code=code_of("workflow_scripts.run.sum_costs"),
    output:
        costs=report(
            f"{RESULTS}/costs.csv",
            caption="../report/costs.rst",
            category="Times and costs",
            labels={"table": "costs"},
        ),
        # The run itself makes it when it ends; an output, so that it is made again where it is missing.
        report=f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/figures/sum_costs.log",
    conda:
        "../envs/workflow.yaml"
    params:
        code=contents_of_code(code_of("workflow_scripts.run.sum_costs") + CAPTIONS),
        benchmarks=f"{RESULTS}/benchmarks",
    shell:
        "python -m workflow_scripts.run.sum_costs"
        " --benchmarks {params.benchmarks:q}"
        " --out {output.costs:q}"
        " --report {output.report:q}"
        " 2> {log:q}"
