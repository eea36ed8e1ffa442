"""What an experiment found, in words: every sentence follows from the tables and claims no more than they show."""

from workflow_scripts.findings.certainty import how_sure, left_open
from workflow_scripts.findings.changes import asked, changed, in_short
from workflow_scripts.findings.choices import other_choices
from workflow_scripts.findings.meaning import accuracy_or_sparsity, causes, kept_concepts, same_units
from workflow_scripts.findings.others import other_networks
from workflow_scripts.findings.section import Section
from workflow_scripts.findings.source import Tables


def find(tables: Tables, margin: float, accuracy_margin: float) -> list[Section]:
    """The findings of an experiment, section by section.

    Args:
        tables: the experiment's tables.
        margin: `statistics.margin` of the config, a share of the dense networks' mean count.
        accuracy_margin: `statistics.accuracy_margin` of the config, a difference in test accuracy.
    """
    curves = tables.curves()
    sections = [asked(tables, margin, accuracy_margin)]
    sections += [in_short(tables, curve) for curve in curves]
    for curve in curves:
        sections += changed(tables, curve)
        sections.append(how_sure(tables, curve))
        sections += [accuracy_or_sparsity(tables, curve, layer) for layer in tables.layers(curve)]
        sections += [same_units(tables, curve), *kept_concepts(tables, curve), *causes(tables, curve)]
        sections.append(other_choices(tables, curve, margin))
    sections += [other_networks(tables), left_open(tables)]
    return [section for section in sections if section.paragraphs or section.table]
