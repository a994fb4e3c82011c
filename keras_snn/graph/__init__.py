"""Knowledge of a model's graph, for energy, inspector, conversion and export."""

from keras_snn.graph.calls import Call, calls, has_two_time_axes, is_graph, study, why_not_causal, window_rank
from keras_snn.graph.samples import static_batch_size, zero_sample
from keras_snn.graph.trace import Graph, Node, trace

__all__ = [
    "Call",
    "Graph",
    "Node",
    "calls",
    "has_two_time_axes",
    "is_graph",
    "static_batch_size",
    "study",
    "trace",
    "why_not_causal",
    "window_rank",
    "zero_sample",
]
