"""Tables, figures and the report.

In:  every network's metrics.json, units.csv, nulls.csv and split.csv; rotations.csv where it is rotated; sweep.csv
     where it is swept; ablation.csv and classes.csv where units are switched off
Out: tables/*.csv, figures/*.{pdf,svg,png,rst,tex}, costs.csv, config.yaml, provenance.json, findings.md, summary.txt,
     report.html, checksums.sha256
"""

CAPTIONS = sorted(file.relative_to(ROOT).as_posix() for file in (ROOT / "report").glob("*.rst"))
TABLES = {name: f"{RESULTS}/tables/{name}.csv" for name in COLLECTED}
SWEEP = {"sweep": f"{RESULTS}/tables/sweep.csv"}
ROTATIONS = {"rotations": f"{RESULTS}/tables/rotations.csv"} if EXPERIMENT.rotated else {}
COMPARISONS = {name: f"{RESULTS}/tables/{name}.csv" for name in COMPARED}
ABLATED = EXPERIMENT.ablated_networks()
ABLATION = {name: f"{RESULTS}/tables/{name}.csv" for name in ABLATION_TABLES}
FIGURES = EXPERIMENT.figure_names


rule collect:
    """Gather what was measured of every network into tidy tables."""
    input:
        metrics=EXPERIMENT.metrics(),
        units=EXPERIMENT.units(),
        nulls=EXPERIMENT.validation("nulls.csv"),
        split=EXPERIMENT.validation("split.csv"),
    output:
        **{
            name: report(file, caption=f"../report/{name}.rst", category="Tables", labels={"table": name})
            for name, file in TABLES.items()
        },
    log:
        f"{RESULTS}/logs/figures/collect.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures/collect.tsv"
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.tables.collect"),
        arms=verbatim(EXPERIMENT.arm_rows()),
        results=verbatim(placed(RESULTS)),
        networks=EXPERIMENT.collected(),
        rule=EXPERIMENT.choices("detector_iou", "detector_rule"),
    shell:
        "python -m workflow_scripts.tables.collect"
        " --results {params.results:q}"
        " {params.networks}"
        " --arms {params.arms:q}"
        " {params.rule}"
        ' --tables "$(dirname {output.networks:q})"'
        " 2> {log:q}"


rule collect_rotations:
    """Gather what random rotations of networks' layers detect into a tidy table."""
    input:
        rotations=[EXPERIMENT.file(network.files_of, "rotations.csv") for network in EXPERIMENT.rotated_networks()],
    output:
        report(
            f"{RESULTS}/tables/rotations.csv",
            caption="../report/rotations.rst",
            category="Tables",
            labels={"table": "rotations"},
        ),
    log:
        f"{RESULTS}/logs/figures/collect_rotations.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures/collect_rotations.tsv"
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.tables.collect_rotations"),
        results=verbatim(placed(RESULTS)),
        networks=listed(networks={network.key: network.files_of for network in EXPERIMENT.rotated_networks()}),
        arms=EXPERIMENT.rotated_arms(),
    shell:
        "python -m workflow_scripts.tables.collect_rotations"
        " --results {params.results:q}"
        " {params.networks}"
        " {params.arms}"
        " --out {output:q}"
        " 2> {log:q}"


rule compare_networks:
    """Compare networks with the dense ones, arms at equal accuracy and density, and the names of units."""
    input:
        **{name: TABLES[name] for name in ("networks", "arms", "units", "split")} | ROTATIONS,
    output:
        **{
            name: report(file, caption=f"../report/{name}.rst", category="Tables", labels={"table": name})
            for name, file in COMPARISONS.items()
        },
    log:
        f"{RESULTS}/logs/figures/compare_networks.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures/compare_networks.tsv"
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.tables.compare_networks"),
        margins=EXPERIMENT.margins(),
    shell:
        "python -m workflow_scripts.tables.compare_networks"
        ' --tables "$(dirname {output.equivalence:q})"'
        " {params.margins}"
        " 2> {log:q}"


rule collect_ablation:
    """Gather what switching units off costs, and networks' accuracies by class, into tidy tables."""
    input:
        ablation=[EXPERIMENT.file(network.files_of, "ablation.csv") for network in ABLATED],
        classes=[EXPERIMENT.file(network.files_of, "classes.csv") for network in ABLATED],
    output:
        **{
            name: report(file, caption=f"../report/{name}.rst", category="Tables", labels={"table": name})
            for name, file in ABLATION.items()
        },
    log:
        f"{RESULTS}/logs/figures/collect_ablation.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures/collect_ablation.tsv"
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.tables.collect_ablation"),
        results=verbatim(placed(RESULTS)),
        networks=listed(networks={network.key: network.files_of for network in ABLATED}),
        given=verbatim(EXPERIMENT.given_classes()),
    shell:
        "python -m workflow_scripts.tables.collect_ablation"
        " --results {params.results:q}"
        " {params.networks}"
        " {params.given}"
        " --ablation {output.ablation:q}"
        " --classes {output.classes:q}"
        " 2> {log:q}"


rule collect_sweep:
    """Gather the counts under other choices of the dissection into a tidy table."""
    input:
        units=[EXPERIMENT.file(network.dissection_of, "units.csv") for network in EXPERIMENT.curves()],
        sweeps=(
            [EXPERIMENT.file(network.dissection_of, "sweep.csv") for network in EXPERIMENT.curves()]
            if EXPERIMENT.variations
            else []
        ),
    output:
        report(
            SWEEP["sweep"],
            caption="../report/sweep.rst",
            category="Tables",
            labels={"table": "sweep"},
        ),
    log:
        f"{RESULTS}/logs/figures/collect_sweep.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures/collect_sweep.tsv"
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.tables.collect_sweep"),
        results=verbatim(placed(RESULTS)),
        networks=listed(networks={network.key: network.dissection_of for network in EXPERIMENT.curves()}),
        rule=EXPERIMENT.choices("detector_rule"),
        values=EXPERIMENT.swept_values(),
    shell:
        "python -m workflow_scripts.tables.collect_sweep"
        " --results {params.results:q}"
        " {params.networks}"
        " {params.rule}"
        " {params.values}"
        " --out {output:q}"
        " 2> {log:q}"


rule draw_figures:
    """Draw every figure from the tables alone, and write its caption, also as LaTeX."""
    input:
        **TABLES | SWEEP | ROTATIONS | COMPARISONS | (ABLATION if ABLATED else {}),
    output:
        EXPERIMENT.figures("pdf", "png", "rst", "tex"),
        **{
            name: report(
                f"{RESULTS}/figures/{name}.svg",
                caption=os.path.abspath(placed(f"{RESULTS}/figures/{name}.rst")),
                category="Figures",
                labels={"figure": name},
            )
            for name in FIGURES
        },
    log:
        f"{RESULTS}/logs/figures/draw_figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures/draw_figures.tsv"
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.figures.draw_figures", *map(module_of, FIGURES)),
        # Without their names it would draw whatever the folder allows, also from tables of an earlier config.
        figures=" ".join(named_arguments(figure=name) for name in FIGURES),
        arms=EXPERIMENT.chosen_arms("figures"),
    shell:
        "python -m workflow_scripts.figures.draw_figures"
        ' --tables "$(dirname {input.networks:q})"'
        " {params.figures}"
        " {params.arms}"
        ' --out "$(dirname {output.overview:q})"'
        " 2> {log:q}"


rule compare_published:
    """Set counts that are published of a network beside this experiment's."""
    input:
        units=[EXPERIMENT.file(network.key, "units.csv") for network in EXPERIMENT.published()],
        concepts=EXPERIMENT.concepts(EXPERIMENT.first_design()),
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
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint(
            "workflow_scripts.tables.compare_published", files=["workflow_scripts/tables/published_counts.csv"]
        ),
        networks=lambda wildcards, input: [
            shlex.join(
                [
                    *("--network", network.key.arm, str(network.key.replicate), units),
                    *([network.weights] if isinstance(network.weights, str) else []),
                ]
            )
            for network, units in zip(EXPERIMENT.published(), input.units, strict=True)
        ],
        contents=[or_exit(CONTENTS.network, network) for network in EXPERIMENT.published()],
        dissection=verbatim(EXPERIMENT.section("dissection")),
    shell:
        "python -m workflow_scripts.tables.compare_published"
        " {params.networks}"
        " --concepts {input.concepts:q}"
        " --dissection {params.dissection:q}"
        " --out {output:q}"
        " 2> {log:q}"


rule sum_costs:
    """Add up what each rule took, after all others."""
    input:
        EXPERIMENT.tables(),
        EXPERIMENT.figures("pdf", "svg", "png"),
        f"{GALLERY}/index.html",
    output:
        report(
            f"{RESULTS}/costs.csv",
            caption="../report/costs.rst",
            category="Times and costs",
            labels={"table": "costs"},
        ),
    log:
        f"{RESULTS}/logs/figures/sum_costs.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.run.sum_costs"),
    shell:
        "python -m workflow_scripts.run.sum_costs"
        ' --benchmarks "$(dirname {output:q})"/benchmarks'
        " --out {output:q}"
        " 2> {log:q}"


rule record_provenance:
    """Record the config as merged, and how the results were made, after all others."""
    input:
        EXPERIMENT.tables(),
        EXPERIMENT.figures("pdf", "svg", "png"),
        f"{GALLERY}/index.html",
    output:
        config=f"{RESULTS}/config.yaml",
        provenance=f"{RESULTS}/provenance.json",
    log:
        f"{RESULTS}/logs/figures/record_provenance.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.run.record_provenance"),
        # A function, for in a text of its own {} would be a wildcard. The command line is no parameter, so that other
        # words in it rerun nothing: the script finds it in its environment.
        config=lambda wildcards: config_text(config | {"gpus": GPUS_WANTED}),
    shell:
        "python -m workflow_scripts.run.record_provenance"
        " --config {params.config:q}"
        ' --results "$(dirname {output.provenance:q})"'
        " 2> {log:q}"


rule write_report:
    """Put findings, figures, tables, costs and how all was made on one page; and the first of it into texts."""
    input:
        EXPERIMENT.tables(),
        EXPERIMENT.figures("pdf", "svg", "png", "rst", "tex"),
        f"{RESULTS}/costs.csv",
        f"{RESULTS}/config.yaml",
        f"{RESULTS}/provenance.json",
        f"{GALLERY}/index.html",
        # Nothing reads them; so they come along, and first, also where another workflow asks for the report.
        EXPERIMENT.checked(),
    output:
        report=f"{RESULTS}/report.html",
        findings=f"{RESULTS}/findings.md",
        summary=f"{RESULTS}/summary.txt",
    log:
        f"{RESULTS}/logs/figures/write_report.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.run.write_report", files=CAPTIONS),
        arguments=named_arguments(
            figures=FIGURES, tables=EXPERIMENT.table_names(), quantile=config["dissection"]["quantile"]
        ),
        margins=EXPERIMENT.margins(),
    shell:
        "python -m workflow_scripts.run.write_report"
        ' --results "$(dirname {output.report:q})"'
        " {params.arguments}"
        " {params.margins}"
        " --findings {output.findings:q}"
        " --summary {output.summary:q}"
        " --out {output.report:q}"
        " 2> {log:q}"


rule list_checksums:
    """List the checksums of what was made, last of all, so that a copy of it can be verified."""
    input:
        f"{RESULTS}/report.html",
        f"{RESULTS}/provenance.json",
    output:
        f"{RESULTS}/checksums.sha256",
    log:
        f"{RESULTS}/logs/figures/list_checksums.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        code=code_fingerprint("workflow_scripts.run.list_checksums"),
    shell:
        "python -m workflow_scripts.run.list_checksums"
        ' --results "$(dirname {output:q})"'
        " --out {output:q}"
        " 2> {log:q}"
