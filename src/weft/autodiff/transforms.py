"""The transformations of whole graphs, as rules of primitives with sub-graphs receive them (`ad`)."""

from .calls import call_batch, call_jvp, call_vjp
from .conds import cond_batch, cond_jvp, cond_vjp
from .graphs import batch_graph, dependent_results, jvp_graph
from .pairs import Pair, vjp_pair
from .saved import Saved, foreseeing, saving_node, saving_results, with_residuals
from .scan_reverse import scan_vjp
from .scans import scan_batch, scan_jvp
from .whiles import while_batch, while_jvp, while_vjp

__all__ = [
    "call_batch", "call_jvp", "call_vjp",
    "cond_batch", "cond_jvp", "cond_vjp",
    "scan_batch", "scan_jvp", "scan_vjp",
    "while_batch", "while_jvp", "while_vjp",
    "batch_graph", "dependent_results", "jvp_graph",
    "Pair", "vjp_pair",
    "Saved", "foreseeing", "saving_node", "saving_results", "with_residuals",
]  # fmt: skip
