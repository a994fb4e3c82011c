"""Analysis of a model's graph: layer calls, connections and time axis."""

from keras_snn.graph.calls import Call, calls, is_graph, study, window_rank
from keras_snn.graph.samples import static_batch_size, zero_sample
from keras_snn.graph.time_axis import TimeAxis, why_not_in_parts
from keras_snn.graph.trace import Graph, Node, trace

__all__ = [
    "Call",
    "Graph",
    "Node",
    "TimeAxis",
    "calls",
    "is_graph",
    "static_batch_size",
    "study",
    "trace",
    "why_not_in_parts",
    "window_rank",
    "zero_sample",
]
