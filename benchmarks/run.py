"""Measure the speed and memory of keras_snn, side by side with other libraries; see README.rst.

python benchmarks/run.py [--peer PYTHON] [--torch-peer PYTHON] [--spyx PYTHON] [--brian2 PYTHON]
    [--rounds N] [--only ROW ...] [--out FILE]
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import statistics
import sys
from dataclasses import asdict

import networks
import neurons
import tabulate
from bench import Bench, Figure, compare, label, times_as_much, times_faster

SHAPES = ((32, 1000, 128), (32, 100, 1024))  # (batch, time, units)
MODES = ("xla", "graph")
NETWORKS = ("spiking", "aware", "filtered")


def fastest_mode(peer, **request):
    """Return the faster mode of KerasSpiking, from a trial of both."""
    times = {}
    for mode in MODES:
        with contextlib.suppress(RuntimeError):
            times[mode] = peer.run_case(mode=mode, **request)
    return min(times, key=times.get, default="graph")


def activation(bench):
    """SpikingActivation, forward and backward, against KerasSpiking and against relu in the same mode."""
    with bench.ours() as ours, bench.peer("keras_spiking") as peer:
        for shape in SHAPES:
            spiking = {"case": "layer", "name": "SpikingActivation", "activation": "relu", "shape": shape}
            theirs = fastest_mode(peer, **spiking)
            requests = {"KerasSpiking": (peer, {**spiking, "mode": theirs})}
            for mode in MODES:
                requests[mode] = ours, {**spiking, "mode": mode}
                requests["relu", mode] = ours, {"case": "layer", "name": "relu", "shape": shape, "mode": mode}
            times = bench.interleave(requests)
            for mode in MODES:
                mine, what = times[mode], f"SpikingActivation {label(shape)}, {mode}"
                at_least, at_most = (10, 4) if mode == "xla" else (None, None)
                versus = f"{what}; KerasSpiking, {theirs}"
                yield compare(times_faster, "activation", versus, mine, times["KerasSpiking"], at_least)
                yield compare(times_as_much, "activation", f"{what}; relu", mine, times["relu", mode], at_most)


def filters(bench):
    """Lowpass and Alpha, gradients of inputs and time constants, by both methods, against KerasSpiking."""
    ways = [(method, mode) for method in ("sequential", "parallel") for mode in MODES]
    with bench.ours() as ours, bench.peer("keras_spiking") as peer:
        for name in ("Lowpass", "Alpha"):
            for shape in SHAPES:
                request = {"case": "layer", "name": name, "shape": shape, "tau_initializer": 0.1}
                theirs = fastest_mode(peer, **request)
                requests = {"KerasSpiking": (peer, {**request, "mode": theirs})}
                requests |= {(a, b): (ours, {**request, "method": a, "mode": b}) for a, b in ways}
                times = bench.interleave(requests)
                for method, mode in ways:
                    what = f"{name} {label(shape)}, {method}, {mode}; KerasSpiking, {theirs}"
                    bound = 10 if (method, mode) == ("sequential", "xla") else None
                    yield compare(times_faster, "filters", what, times[method, mode], times["KerasSpiking"], bound)


def epochs(bench, n_images=20_000):
    """An epoch of the Fashion-MNIST networks, Repeat after the Dense, against the non-spiking network."""
    with bench.ours() as ours:
        request = {"case": "epoch", "n_images": n_images}
        times = bench.interleave({name: (ours, {**request, "network": name}) for name in ("ann", *NETWORKS)})
        for name in NETWORKS:
            what = f"{name} network, {n_images:,} images, fit; the non-spiking network"
            yield compare(times_as_much, "epochs", what, times[name], times["ann"], 1.5)


def tiled(bench, n_images=5_000):
    """An epoch of the same networks with images repeated before the Dense, against KerasSpiking."""
    with bench.ours() as ours, bench.peer("keras_spiking") as peer:
        for name in NETWORKS:
            request = {"network": name, "n_images": n_images}
            times = bench.interleave(
                {
                    "ours": (ours, {"case": "epoch", "tiled": True, **request}),
                    "KerasSpiking": (peer, {"case": "tiled_epoch", **request}),
                }
            )
            what = f"{name} network, {n_images:,} tiled images, fit; KerasSpiking"
            yield compare(times_as_much, "tiled", what, times["ours"], times["KerasSpiking"], 1)


def inspect(bench, n_images=10_000):
    """`inspect` at four dt against one `model.evaluate`; its memory for ten times the images."""
    dt = (0.001, 0.01, 0.1, 1.0)
    with bench.ours() as ours:
        for sizes, options, bound in (
            ("batches of 128", {"batch_size": 128}, 5),
            ("default batch sizes", {}, None),
            ("four spiking layers, batches of 128", {"batch_size": 128, "network": "deep"}, None),
            ("four spiking layers, default batch sizes", {"network": "deep"}, 3),
        ):
            times = bench.interleave(
                {
                    "inspect": (ours, {"case": "inspect", "n_images": n_images, "dt": dt, **options}),
                    "evaluate": (ours, {"case": "evaluate", "n_images": n_images, **options}),
                }
            )
            what = f"inspect, {n_images:,} images, 4 dt, {sizes}; evaluate"
            yield compare(times_as_much, "inspect", what, times["inspect"], times["evaluate"], bound)
        request = {"n_images": 1280, "network": "deep", "batch_size": 128}
        times = bench.interleave(
            {
                "first": (ours, {"case": "inspect", "dt": dt, "first": True, **request}),
                "evaluate": (ours, {"case": "evaluate", **request}),
            }
        )
        what = "first inspect of a new model of four spiking layers, 1,280 images, 4 dt; evaluate, warm"
        yield compare(times_as_much, "inspect", what, times["first"], times["evaluate"])
    with bench.ours() as ours:
        n_small = n_images // 10
        what = f"inspect, peak memory at {n_images:,} images; at {n_small:,}"
        try:
            peak = ours.run_case("inspect_memory", n_small=n_small, n_large=n_images, dt=dt)
        except RuntimeError as error:
            yield Figure("inspect", what, note=str(error))
        else:
            yield times_as_much("inspect", what, [peak["large"]], [peak["small"]], 1.03, unit="MB")


def parts(bench, n_steps=128):
    """`predict` over parts of the time axis against a whole run, on every backend; its memory at more steps."""
    for backend in ("tensorflow", "jax", "torch"):
        with bench.ours(backend) as ours:
            times = bench.interleave(
                {n: (ours, {"case": "predict", "n_steps": n_steps, "steps_at_once": n}) for n in (None, 16)}
            )
            what = f"three spiking convolutions, {backend}, {n_steps} steps, 16 at once; all at once"
            yield compare(times_as_much, "parts", what, times[16], times[None], 1.2)
        what = f"the same, {backend}, growth of the peak memory with {4 * n_steps} steps; with {n_steps}"
        growth = {}
        for n in (4 * n_steps, n_steps):
            with bench.ours(backend) as ours:
                growth[n] = ours.run_case("predict_memory", n_steps=n, steps_at_once=16)
        yield times_as_much("parts", what, [growth[4 * n_steps]], [growth[n_steps]], unit="MB")


def latency(bench):
    """A step of a stream, batch 1, against calls of the same network with relu, on every backend."""
    calls = ("stream", "model", "predict_on_batch", "compiled")
    for backend in ("tensorflow", "jax", "torch"):
        for network in ("dense", "convolutional"):
            with bench.ours(backend) as ours:
                request = {"case": "latency", "network": network}
                times = bench.interleave({call: (ours, {**request, "call": call}) for call in calls})
            for call in calls[1:]:
                for percentile in ("p50", "p99"):
                    what = f"{network}, {backend}, {percentile} of a step of a stream; relu, {call}"
                    mine, reference = (_part(times[key], percentile) for key in ("stream", call))
                    yield compare(times_as_much, "latency", what, mine, reference)


def _part(measured, name):
    """Return one value of the dict of each round; an error message as it is."""
    return measured if isinstance(measured, str) else [values[name] for values in measured]


def length(bench):
    """Time per step at T = 10, 100, 1000, 10000, against that at 1000."""
    steps = (10, 100, 1000, 10_000)
    layers = {"SpikingActivation": {"activation": "relu"}, "Lowpass": {"tau_initializer": 0.1}}
    for name, options in layers.items():
        with bench.ours() as ours:
            request = {"case": "layer", "name": name, "mode": "xla", **options}
            times = bench.interleave({T: (ours, {**request, "shape": (32, T, 128)}) for T in steps})
        for T in (10, 100, 10_000):
            what = f"{name} 32xTx128, xla, per step at T = {T:,}; at 1,000"
            bound = 1.3 if T == 10_000 else None
            yield compare(times_as_much, "length", what, times[T], times[1000], bound, scale=1000 / T)


def memory(bench, shape=(32, 20_000, 128)):
    """The engine's peak memory against that of inputs, states, outputs and the gradients of outputs and inputs."""
    for mode in MODES:
        what = f"Lowpass {label(shape)}, {mode}, peak memory; five tensors of that size"
        with bench.ours() as ours:
            try:
                answer = ours.run_case("engine_memory", shape=shape, mode=mode, tau_initializer=0.1)
            except RuntimeError as error:
                yield Figure("memory", what, note=str(error))
            else:
                yield times_as_much("memory", what, [answer["growth"]], [answer["tensors"]], 1.3, unit="MB")


def backends(bench):
    """SpikingActivation on every backend, against relu on the same backend."""
    for backend, mode in {"tensorflow": "xla", "jax": "jit", "torch": "compiled"}.items():
        with bench.ours(backend) as ours:
            for shape in SHAPES:
                request = {"case": "layer", "shape": shape, "mode": mode}
                times = bench.interleave(
                    {
                        "SpikingActivation": (ours, {**request, "name": "SpikingActivation", "activation": "relu"}),
                        "relu": (ours, {**request, "name": "relu"}),
                    }
                )
                what = f"SpikingActivation {label(shape)}, {backend}, {mode}; relu"
                yield compare(times_as_much, "backends", what, times["SpikingActivation"], times["relu"])


def conversion(bench, n_images=8192):
    """`predict` of a converted network, against the original network on (images x steps) images."""
    with bench.ours() as ours:
        requests = {"ann": (ours, {"case": "converted_predict", "n_images": n_images})}
        for n_steps in (4, 32):
            requests[n_steps] = ours, {"case": "converted_predict", "n_images": n_images // n_steps, "n_steps": n_steps}
        times = bench.interleave(requests)
        for n_steps in (4, 32):
            what = f"converted network, {n_images // n_steps} images of {n_steps} steps; the ANN, {n_images:,} images"
            yield compare(times_as_much, "conversion", what, times[n_steps], times["ann"])


def attacks(bench, n_images=1000):
    """PGD of five iterations against one pass of gradients, and against adversarial-robustness-toolbox."""
    for backend in ("tensorflow", "jax", "torch"):
        names = ("pgd", "gradients") if backend == "jax" else ("pgd", "gradients", "toolbox")
        n = n_images // 4 if backend == "torch" else n_images  # all images take minutes on PyTorch
        with bench.ours(backend) as ours:
            requests = {name: (ours, {"case": "attack", "name": name, "n_images": n}) for name in names}
            times = bench.interleave(requests)
        what = f"PGD-5 on {n:,} images, three spiking convolutions, {backend}"
        yield compare(times_as_much, "attacks", f"{what}; one gradient pass", times["pgd"], times["gradients"], 7)
        if "toolbox" in times:
            yield compare(times_faster, "attacks", f"{what}; the toolbox's PGD", times["pgd"], times["toolbox"])
    with bench.ours() as ours:
        peak = ours.run_case("attack_memory", n_small=n_images, n_large=4 * n_images)
        what = f"PGD-5, peak memory at {4 * n_images:,} images; at {n_images:,}"
        yield times_as_much("attacks", what, [peak["large"]], [peak["small"]], unit="MB")


def events(bench):
    """Frames, surfaces and filters of a million events, beside tonic, which must be installed."""
    for transform in ("window", "bins", "count", "voxel grid", "time surface", "refractory", "hot pixels"):
        with bench.ours("torch") as ours:  # NumPy alone: any backend
            requests = {name: (ours, {"case": "events", "transform": transform, "library": name}) for name in LIBRARIES}
            times = bench.interleave(requests)
        if not isinstance(times["tonic"], str):
            times["tonic"] = [ms * PARTS.get(transform, 1) for ms in times["tonic"]]
        speed = "" if isinstance(times["ours"], str) else f" ({1e3 / statistics.median(times['ours']):.0f} M/s)"
        yield compare(times_faster, "events", f"{transform}{speed}; tonic", times["ours"], times["tonic"], 1)


def stdp(bench):
    """A presentation to the network of Diehl and Cook, 784-400-400, against the faster target of Brian2."""
    with bench.peer("brian2") as peer:
        for activity in ("few spikes", "many spikes"):
            targets = {target: (peer, {"case": "stdp", "activity": activity, "target": target}) for target in TARGETS}
            for backend in ("tensorflow", "jax"):
                with bench.ours(backend) as ours:
                    mine = {n: (ours, {"case": "stdp", "activity": activity, "batch_size": n}) for n in (1, 32)}
                    times = bench.interleave({**mine, **targets})
                theirs = [times[target] for target in TARGETS if not isinstance(times[target], str)]
                best = min(theirs, key=statistics.median) if theirs else times[TARGETS[0]]
                for n, bound in ((1, 20), (32, 100)):
                    each = times[n] if isinstance(times[n], str) else [ms / n for ms in times[n]]
                    what = f"{activity}, {n} at a time, {backend}; Brian2, one presentation"
                    yield compare(times_faster, "stdp", what, each, best, bound)


TARGETS = ("numpy", "cython")
LIBRARIES = ("ours", "tonic")
#: tonic's filter, a Python loop, ran on a part of the events.
PARTS = {"refractory": 50}

ROWS = (
    {
        f.__name__: f
        for f in (
            *(
                activation,
                filters,
                epochs,
                tiled,
                inspect,
                parts,
                latency,
                length,
                memory,
                backends,
                conversion,
                attacks,
                events,
            ),
            stdp,
        )
    }
    | neurons.ROWS
    | networks.ROWS
)


def table(figures):
    """Return the text table."""
    header = ("row", "ratio", "range", "bound", "kept", "ours", "reference", "what; reference")
    return tabulate.tabulate([figure.cells() for figure in figures], header, disable_numparse=True)


def environment(bench):
    """Return the machine and the versions of the libraries."""
    with bench.ours() as ours:
        about = {"ours": ours.run_case("versions")}
    for name, python in bench.pythons.items():
        with bench.peer(name) as peer:
            about[name] = peer.run_case("versions") if python else None
    return {
        **about,
        "python": platform.python_version(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_average_at_start": os.getloadavg()[0],
        "glibc_tunables": os.environ.get("GLIBC_TUNABLES"),
        "rounds": bench.rounds,
    }


def processor():
    """Return the name of the processor, if the system reports it."""
    info = pathlib.Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def save(path, about, figures):
    """Write the figures atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps({"environment": about, "figures": [asdict(f) for f in figures]}, indent=1) + "\n")
    os.replace(temporary, path)


def main():
    """Run the rows, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter of an environment with KerasSpiking")
    parser.add_argument("--torch-peer", metavar="PYTHON", help="interpreter with SpikingJelly and snnTorch")
    parser.add_argument("--spyx", metavar="PYTHON", help="interpreter of an environment with Spyx")
    parser.add_argument("--brian2", metavar="PYTHON", help="interpreter of an environment with Brian2")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of every figure; default 5")
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--out", type=pathlib.Path, help="default: results.json beside this script; none with --only")
    arguments = parser.parse_args()
    out = arguments.out
    if out is None and not arguments.only:
        out = pathlib.Path(__file__).with_name("results.json")

    pythons = {
        "keras_spiking": arguments.peer,
        "torch": arguments.torch_peer,
        "spyx": arguments.spyx,
        "brian2": arguments.brian2,
    }
    bench = Bench(pythons, arguments.rounds)
    about = environment(bench)
    figures = []
    try:
        for name in arguments.only or ROWS:
            print(f"{name}: {ROWS[name].__doc__}", file=sys.stderr)
            figures.extend(ROWS[name](bench))
    except KeyboardInterrupt:
        print("\nInterrupted: the table has the finished rows; no file is written.", file=sys.stderr)
        out = None
    print(table(figures))
    if out is not None:
        save(out, about, figures)


if __name__ == "__main__":
    main()
