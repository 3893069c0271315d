"""Networks as graphs for other run times: the packaged models' own (`packaged`), and files for others to use."""

from tools.export.packaged import export_graph, load_weights, save_weights, tensor_places

__all__ = ["export_graph", "load_weights", "save_weights", "tensor_places"]
