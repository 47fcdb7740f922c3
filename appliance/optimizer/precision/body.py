"""Which nodes of a canonical graph may compute in fewer bits: the body without its last products.

The input part and the head are ours and stay in single precision, and so does what the export
itself does behind its last convolutions: there boxes are decoded, and a half-precision number
counts pixels in steps of 0.5 from 512 on. The last products stay as well: what they give ranks
the candidates, and rounded it ties.
"""

import onnx_ir as ir

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_OURS = ("canonical/input/", "canonical/head/")


def is_body(node: ir.Node) -> bool:
    """Whether a node is of the network itself, the rules in `simplify` included."""
    return not (node.name or "").startswith(_OURS)


def before_products(graph: ir.Graph) -> list[ir.Node]:
    """The body's nodes from which a product of the body is still to come, in order."""
    found: dict[ir.Node, None] = {}
    for node in reversed(graph):
        if is_body(node) and any(_leads_on(user, found) for user in node.successors()):
            found[node] = None
    return [*reversed(found)]


def _leads_on(node: ir.Node, found: dict[ir.Node, None]) -> bool:
    return node in found or (node.op_type in PRODUCTS and is_body(node))
