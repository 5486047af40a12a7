"""The import rule for seams: two files behind one seam never reach each other, directly or through a third.

Source: import-linter's ``independence`` contract, with two differences: the seams are those that the program itself
knows (``worldgate.core.seams.SEAMS``), so a new one is held from its first file, and private modules (``_name.py``) are
the place for what the files of a seam share.
"""

from __future__ import annotations

from grimp import ImportGraph
from importlinter.contracts.independence import IndependenceContract
from importlinter.domain import fields
from importlinter.domain.contract import ContractCheck

from worldgate.core.seams import SEAMS


class SeamContract(IndependenceContract):
    """Independence of the public modules of every seam package."""

    type_name = "seams"

    modules = fields.SetField(subfield=fields.ModuleExpressionField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Look for a chain of imports between two public modules of one seam."""
        chains = []
        for package in SEAMS.values():
            if package not in graph.modules:
                continue
            public = {name for name in graph.find_children(package) if not name.rsplit(".", 1)[1].startswith("_")}
            dependencies = graph.find_illegal_dependencies_for_layers(layers=(public,))
            chains += self._build_invalid_chains(dependencies, graph)
        return ContractCheck(kept=not chains, metadata={"invalid_chains": chains})
