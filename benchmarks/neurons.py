"""Rows for neurons: against SpikingJelly, snnTorch, Spyx, a hand-written `lax.scan`, and the memory traffic."""

import statistics

from bench import Figure, compare, label, times_as_much, times_faster

SHAPES = ((32, 8, 25088), (32, 100, 1024), (32, 500, 256))  # (batch, time, units)
OTHERS = {"KLIF": {}, "PLIF": {}, "Synaptic": {}, "ALIF": {}}


def neurons(bench):
    """LIF, forward and backward, on every backend against the other libraries; SHAPES differ in T."""
    ratios = {}
    with (
        bench.ours() as tf,
        bench.ours("jax") as jax,
        bench.ours("torch") as torch,
        bench.ours("torch") as uncompiled,
        bench.peer("torch") as peer,
        bench.peer("spyx") as spyx,
    ):
        for shape in SHAPES:
            lif = {"case": "layer", "name": "LIF", "shape": shape}
            times = bench.interleave(
                {
                    "tf": (tf, {**lif, "mode": "xla"}),
                    "tf graph": (tf, {**lif, "mode": "graph"}),
                    "traffic": (tf, {"case": "traffic", "shape": shape}),
                    "jax": (jax, {**lif, "mode": "jit"}),
                    "lax.scan": (jax, {"case": "plain_scan", "shape": shape}),
                    "torch": (torch, {**lif, "mode": "compiled"}),
                    "torch uncompiled": (uncompiled, {**lif, "mode": "uncompiled"}),
                    "SpikingJelly": (peer, {"case": "layer", "library": "spikingjelly", "shape": shape}),
                    "snnTorch": (peer, {"case": "layer", "library": "snntorch", "shape": shape}),
                    "Spyx": (spyx, {"case": "layer", "shape": shape}),
                }
            )
            for ours, theirs, bound in (
                ("tf", "SpikingJelly", 2.5),
                ("tf", "snnTorch", 5),
                ("tf graph", "SpikingJelly", None),
                ("torch", "SpikingJelly", 2),
                ("torch uncompiled", "SpikingJelly", 1),
                ("jax", "lax.scan", 1),
                ("jax", "Spyx", 0.9),
            ):
                what = f"LIF layer {label(shape)}, {ours}; {theirs}"
                figure = compare(times_faster, "neurons", what, times[ours], times[theirs], bound)
                ratios.setdefault((ours, theirs), []).append(figure.ratio)
                yield figure
            what = f"LIF layer {label(shape)}, tf; traffic"
            yield compare(times_as_much, "neurons", what, times["tf"], times["traffic"], 3)
    bounds = {("tf", "SpikingJelly"): 4, ("tf", "snnTorch"): 10, ("jax", "lax.scan"): 1.5, ("jax", "Spyx"): 1}
    for (ours, theirs), bound in bounds.items():
        what = f"LIF layer, {ours}, geometric mean of the shapes; {theirs}"
        of_shapes = ratios[ours, theirs]
        if None in of_shapes:
            yield Figure("neurons", what, note="not all shapes were measured")
        else:
            yield times_faster("neurons", what, [1.0], [statistics.geometric_mean(of_shapes)], bound)


def kinds(bench):
    """KLIF, PLIF, Synaptic and ALIF against LIF, with XLA on TensorFlow."""
    with bench.ours() as ours:
        for shape in SHAPES:
            request = {"case": "layer", "shape": shape, "mode": "xla"}
            times = bench.interleave({name: (ours, {**request, "name": name}) for name in ("LIF", *OTHERS)})
            for name in OTHERS:
                what = f"{name} {label(shape)}, xla; LIF"
                yield compare(times_as_much, "kinds", what, times[name], times["LIF"], 1.5)


def compiler(bench):
    """Time of PyTorch's compiler for the forward and backward step of a neuron, compared with one second."""
    for name in ("LIF", "KLIF", "Synaptic"):
        with bench.ours("torch") as ours:
            milliseconds = ours.run_case("compile_time", name=name)
        yield times_as_much("compiler", f"{name}, torch.compile; one second", [milliseconds], [1000.0])


def neuron_memory(bench, shape=(32, 1000, 1024)):
    """Growth of the peak memory by a LIF, forward and backward, against five tensors and SpikingJelly."""
    growth = {}
    for name, start, request in (
        ("keras_snn", bench.ours, {"case": "engine_memory", "name": "LIF", "mode": "xla"}),
        ("SpikingJelly", lambda: bench.peer("torch"), {"case": "layer_memory", "library": "spikingjelly"}),
    ):
        with start() as worker:
            try:
                growth[name] = worker.run_case(**request, shape=shape)
            except RuntimeError as error:
                yield Figure("neuron_memory", name, note=str(error))
    what = f"LIF {label(shape)}, xla, peak memory"
    if "keras_snn" in growth:
        ours = growth["keras_snn"]
        five = f"{what}; five tensors of that size"
        yield times_as_much("neuron_memory", five, [ours["growth"]], [ours["tensors"]], 1.3, unit="MB")
    if len(growth) == 2:
        theirs = [growth["SpikingJelly"]["growth"]]
        yield times_as_much("neuron_memory", f"{what}; SpikingJelly", [ours["growth"]], theirs, 1, unit="MB")


def training(bench, n_images=1280):
    """Training steps of three spiking convolutions at T = 4, batches of 32, against SpikingJelly."""
    with bench.ours() as ours, bench.peer("torch") as peer:
        request = {"case": "net", "n_images": n_images}
        times = bench.interleave({"ours": (ours, request), "SpikingJelly": (peer, request)})
        what = f"an epoch of {n_images:,} images, three spiking convolutions, fit; SpikingJelly"
        yield compare(times_faster, "training", what, times["ours"], times["SpikingJelly"], 1.5)


ROWS = {f.__name__: f for f in (neurons, kinds, compiler, neuron_memory, training)}
