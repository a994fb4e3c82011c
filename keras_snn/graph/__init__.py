"""Knowledge of a model's graph, for energy, inspector, conversion and export."""

from keras_snn.graph.calls import Call, calls, has_two_time_axes, is_graph, study, why_not_causal, window_rank
from keras_snn.graph.samples import static_batch_size, zero_sample

__all__ = [
    "Call",
    "calls",
    "has_two_time_axes",
    "is_graph",
    "static_batch_size",
    "study",
    "why_not_causal",
    "window_rank",
    "zero_sample",
]
