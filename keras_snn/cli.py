"""The command ``keras-snn``. Keras is imported only by commands that need it."""

import argparse
import contextlib
import math
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Sequence

from keras_snn._version import __version__
from keras_snn.experiments.registry import ENTRIES, Entry, check_devices, entry, get

_IMAGE_SETS = ("fashion_mnist", "mnist", "cifar10", "digits", "sample")


#: Lines that TensorFlow writes to the standard error of the process, beside Python's ``sys.stderr``.
_START_UP_LINE = re.compile(rb"^(WARNING: All log messages before absl|[IWE]\d{4} )")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "list":
        width = max(map(len, ENTRIES))
        for name, line in ENTRIES.items():
            print(f"{name:{width}} {line.summary}")
        return 0
    if options.command == "run":
        try:
            check_devices(entry(options.name).name, options.devices)
        except ValueError as error:
            print(f"keras-snn: {error}", file=sys.stderr)
            return 1
    try:
        _start_keras(getattr(options, "devices", 1))
        _command(options.command)(options)
    except KeyboardInterrupt as interrupt:
        print(f"\nInterrupted. {interrupt}".rstrip(), file=sys.stderr)
        return 130
    except (ImportError, OSError, ValueError) as error:
        from keras_snn.checks import plain_text  # here: it imports Keras

        print(f"keras-snn: {plain_text(error)}", file=sys.stderr)
        return 1
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="keras-snn", description="Spiking neural networks as Keras 3 layers.")
    parser.add_argument("--version", action="version", version=f"keras-snn {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run",
        help="reproduce a published result",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(["experiments:", *map(_entry_help, ENTRIES.values())]),
    )
    run.add_argument("name", metavar="NAME", help="an experiment of the list below")
    run.add_argument(
        "--preset", default="quick", metavar="PRESET", help="quick: minutes; full: as published (default: quick)"
    )
    run.add_argument(
        "--data",
        metavar="sample|full|PATH",
        help="part of the images, all images (from KERAS_HOME, or downloaded), or all images from a folder of "
        "tensorflow_datasets; for recordings of events `simulated`, a file, or the folder of N-MNIST (default: the "
        "preset's)",
    )
    run.add_argument("--dataset", metavar="NAME", help="for experiments with several data sets")
    run.add_argument("--seed", type=int, default=0, help="default: 0")
    run.add_argument("--epochs", type=int, help="default: the preset's")
    run.add_argument(
        "--devices",
        type=int,
        default=1,
        metavar="N",
        help="train on N GPUs or TPUs, of all processes if there are several, or on N parts of the CPU (default: 1)",
    )
    run.add_argument("--out", metavar="DIR", help="folder for the results (default: runs/NAME-PRESET)")

    inspect = commands.add_parser(
        "inspect",
        help="report accuracy, spikes and energy of a model in a .keras file",
        description="Print accuracy, firing rates, operations and energy of a model at each dt, and write report.json, "
        "report.html (tables, plots, examples; open it in a browser) and sweep.png.",
    )
    inspect.add_argument("model", metavar="MODEL.keras", help="a model that was saved with model.save")
    inspect.add_argument(
        "--data",
        required=True,
        metavar="|".join(("PATH.npz", *_IMAGE_SETS)),
        help="arrays x and, for accuracies, y in a file of numpy.savez; or the test images of a set (from KERAS_HOME, "
        "or downloaded; `sample` is Fashion-MNIST's, inside this package). Images are scaled to [0, 1], as in the "
        "experiments: pixels of a set, and arrays of uint8 in a file, by their largest possible value. Other arrays "
        "in a file are taken as they are",
    )
    inspect.add_argument("--no-scale", action="store_true", help="leave pixels as they are stored, such as 0 to 255")
    inspect.add_argument(
        "--dt", type=float, nargs="+", metavar="SECONDS", help="time steps to try (default: every layer's own)"
    )
    inspect.add_argument("--n-steps", type=int, nargs="+", metavar="N", help="numbers of time steps (default: its own)")
    inspect.add_argument("--samples", type=int, metavar="N", help="the first N samples only (default: all)")
    inspect.add_argument("--batch-size", type=int, metavar="N", help="default: about 128")
    inspect.add_argument("--seed", type=int, default=0, help="for the initial voltages (default: 0)")
    inspect.add_argument("--out", metavar="DIR", help="folder for the files (default: runs/MODEL-report)")

    classify = commands.add_parser(
        "classify",
        help="name the classes of image files",
        description="Print the class of each image file, the probabilities of all classes in %, and the number of "
        "spikes. Images of any size and color are converted to the model's size, in [0, 1].",
    )
    classify.add_argument("images", nargs="+", metavar="IMAGE", help="a file that Pillow reads, such as JPEG or PNG")
    classify.add_argument(
        "--model",
        metavar="MODEL.keras",
        help="a saved classifier of images (default: the newest spiking model of `run fashion-mnist` in runs/)",
    )
    classify.add_argument(
        "--classes",
        metavar="NAME|A,B,...",
        help="names of the classes: those of fashion_mnist, mnist, cifar10 or digits, or a list (default: "
        "fashion_mnist without --model)",
    )
    classify.add_argument("--dt", type=float, metavar="SECONDS", help="time step (default: every layer's own)")
    classify.add_argument("--n-steps", type=int, metavar="N", help="number of time steps (default: its own)")
    classify.add_argument("--invert", action="store_true", help="for dark objects on a bright background")
    classify.add_argument("--no-scale", action="store_true", help="pixels from 0 to 255 instead of [0, 1]")
    classify.add_argument("--seed", type=int, default=0, help="for the initial voltages (default: 0)")
    classify.add_argument("--json", action="store_true", help="print JSON instead of a table")
    classify.add_argument(
        "--show",
        nargs="?",
        const=os.path.join("runs", "classified.png"),
        metavar="FILE.png",
        help="draw the images, spikes and outputs (default file: runs/classified.png)",
    )

    events = commands.add_parser(
        "events",
        help="print and draw the contents of a recording of events",
        description="Print the number of events, duration, rate, polarities and hot pixels of a recording, and write "
        "events.png, frames.png and clip.gif.",
    )
    events.add_argument("file", metavar="FILE", help="npz or npy file, EVT 2.0, EVT 3.0, DAT, AEDAT 4 or N-MNIST file")
    events.add_argument(
        "--hot-rate", type=float, default=1000.0, metavar="HZ", help="a pixel with more events/s is hot (default: 1000)"
    )
    events.add_argument("--frames", type=int, default=10, metavar="N", help="frames to draw (default: 10)")
    events.add_argument("--sort", action="store_true", help="sort the events by time, if they are not")
    events.add_argument("--out", metavar="DIR", help="folder for the pictures (default: runs/FILE-events)")

    compress = commands.add_parser(
        "compress-events",
        help="keep the events that a sampler chooses",
        description="Write the events of a recording, or of a folder of recordings, at which the mask of a "
        "keras_snn.models.SpikingSampler is 1. Their times stay as they are. A recording may be larger than memory.",
    )
    compress.add_argument("input", metavar="IN", help="a recording, as for `events`, or a folder of them or of classes")
    compress.add_argument("output", metavar="OUT", help="a file that ends in .npz; a folder for a folder")
    compress.add_argument("--model", required=True, metavar="SAMPLER.keras", help="a saved SpikingSampler")
    compress.add_argument("--rate", type=float, metavar="R", help="share of the mask that is 1 (default: the model's)")
    compress.add_argument(
        "--window", type=float, default=0.31, metavar="SECONDS", help="time of a mask (default: 0.31, as in N-MNIST)"
    )
    compress.add_argument(
        "--verify",
        nargs="?",
        const="",
        metavar="CLASSIFIER.keras",
        help="read the output again and check that it is complete; with a classifier of frames, also print its classes "
        "or, for a folder of classes, its accuracy, before and after",
    )

    _add_serve(commands)
    commands.add_parser("list", help="list the experiments")
    return parser


def _add_serve(commands):
    serve = commands.add_parser(
        "serve",
        help="classify events while they arrive",
        description="Run a classifier of frames on events that arrive as lines `t,x,y,p`: time in microseconds, "
        "column, row, polarity 0 or 1. A terminal shows the class live; otherwise a line of JSON is printed for each "
        "step. The end of the events or Ctrl-C ends the command with a summary.",
    )
    serve.add_argument("model", metavar="MODEL.keras", help="a saved classifier of frames, as of `run nmnist`")
    serve.add_argument(
        "--events",
        default="-",
        metavar="-|PATH|HOST:PORT",
        help="standard input (the default), a file or named pipe, or a TCP connection to a program that sends events",
    )
    serve.add_argument(
        "--frame-us", type=int, required=True, metavar="N", help="time of a frame, a time step, in microseconds"
    )
    serve.add_argument("--classes", metavar="NAME|A,B,...", help="names of the classes, as for `classify`")
    serve.add_argument(
        "--reset-after",
        type=int,
        metavar="N",
        help="reset the stream after N frames; 0: never (default: the model's number of time steps; never if it has "
        "none)",
    )
    serve.add_argument(
        "--max-gap-s",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="a longer gap in time is a wrong time, or resets the stream if the next event confirms it (default: 10)",
    )
    serve.add_argument("--json", action="store_true", help="print JSON on a terminal too")
    serve.add_argument("--every", type=int, default=1, metavar="N", help="print JSON every N steps (default: 1)")


def _command(name):
    """Return the function of a command that needs Keras."""
    from keras_snn import event_commands, image_commands, serve_command

    return {
        "classify": image_commands.classify,
        "compress-events": event_commands.compress_events,
        "events": event_commands.events,
        "inspect": _inspect,
        "run": _run,
        "serve": serve_command.serve,
    }[name]


def _entry_help(line: Entry):
    """Return the lines of the help for one experiment."""
    lines = [f"  {line.name}: {line.summary}", f"    presets: {', '.join(line.presets)}"]
    lines += [f"    data sets: {', '.join(line.datasets)}"] if line.datasets else []
    return "\n".join(lines + (["    --devices: any number"] if line.several_devices else []))


def _start_keras(n_devices):
    """Import Keras and start its backend with a number of devices, without the start-up lines of TensorFlow.

    TensorFlow 2.21 writes some of them at any TF_CPP_MIN_LOG_LEVEL. If the user has set this variable, all are printed.
    """
    is_quiet = "TF_CPP_MIN_LOG_LEVEL" not in os.environ and "keras" not in sys.modules
    if is_quiet:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with _without_start_up_lines() if is_quiet else contextlib.nullcontext():
        import keras

        import keras_snn.public  # noqa: F401  registers the layers of saved models

        if n_devices > 1:
            from keras_snn.ops.backend import start_devices

            start_devices(n_devices)  # before the first operation
        keras.ops.convert_to_numpy(keras.ops.zeros(1))  # looks for devices


@contextlib.contextmanager
def _without_start_up_lines():
    """Hold back the standard error of the process, and write it at the end without TensorFlow's lines."""
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            file.seek(0)
            for line in file:
                if not _START_UP_LINE.match(line):
                    os.write(2, line)


def _run(options):
    out = options.out or entry(options.name).folder(options.preset, options.dataset)
    try:
        get(options.name).run(
            preset=options.preset,
            data_name=options.data,
            dataset=options.dataset,
            seed=options.seed,
            epochs=options.epochs,
            devices=options.devices,
            out=out,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Finished parts are in {out}. The same command continues the run.") from None


def _inspect(options):
    from keras_snn.files import check_writable, load_model, write_text

    path = pathlib.Path(options.model)
    out = pathlib.Path(options.out or os.path.join("runs", f"{path.stem}-report"))
    files = [out / name for name in ("report.json", "report.html", "sweep.png")]
    model = load_model(path)
    for file in files:  # an error now, not after minutes
        check_writable(file)
    x, y, class_names = _data(options)
    _check_shape(model, x, options.data)
    try:
        report = _with_progress(model, x, y, options)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("No report was written.") from None
    print(f"{report}\n")
    as_json, as_html, picture = files
    report.save(as_json)
    write_text(as_html, report.to_html(title=path.name, class_names=class_names))
    report.save(picture)
    print(f"Written to {out}: {', '.join(file.name for file in files)}.")


def _data(options):
    """Return the inputs, the labels or None, and the names of the classes or None."""
    import numpy as np

    from keras_snn import checks, data
    from keras_snn.files import load_arrays

    scale, n = not options.no_scale, checks.integer("--samples", options.samples, least=1, optional=True)
    if options.data in _IMAGE_SETS:
        name = _data_name(options)
        _, (x, y) = data.load(name)
        if not scale:
            x = np.rint(x * (16 if name == "digits" else 255))
        return x[:n], y[:n], data.class_names(name)
    path = pathlib.Path(options.data)
    if not path.is_file():
        raise FileNotFoundError(f"--data must be one of {', '.join(_IMAGE_SETS)}, or a file; got {options.data!r}.")
    description = "a file of numpy.savez(path, x=..., y=...) with arrays of numbers"
    arrays = load_arrays(path, description, ["x"], optional=["y"])
    pixels, labels = arrays["x"], arrays.get("y")
    if scale and pixels.dtype == np.uint8:
        pixels = np.divide(pixels, 255, dtype=np.float32)
    return pixels[:n], None if labels is None else labels[:n], None


def _data_name(options):
    """Return the name of the data set, or of the file."""
    return "fashion_mnist_sample" if options.data == "sample" else pathlib.Path(options.data).name


def _check_shape(model, x, name):
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs or []]
    # Keras itself adds or drops an axis of size 1.
    if len(shapes) == 1 and None not in shapes[0] and math.prod(shapes[0]) != math.prod(x.shape[1:]):
        raise ValueError(f"The model takes inputs of the shape {shapes[0]}; those of --data {name} are {x.shape[1:]}.")


def _with_progress(model, x, y, options):
    """Inspect each setting and print it before; return one report."""
    from keras_snn.graph import TimeAxis
    from keras_snn.inspector import Report, inspect

    groups = [None] if options.dt is None else [[dt] for dt in sorted(options.dt, reverse=True)]
    if len(groups) > 1 and not TimeAxis(model, x).reads_dt:
        groups = [options.dt]  # one run for all dt
    settings = [(dts, n_steps) for n_steps in options.n_steps or [None] for dts in groups]
    results_by_setting = {}
    for i, (dts, n_steps) in enumerate(settings, start=1):
        setting = "each layer's own dt" if dts is None else f"dt = {', '.join(f'{dt:g}' for dt in dts)} s"
        setting += "" if n_steps is None else f", {n_steps} steps"
        print(f"[{i}/{len(settings)}] {len(x):,} samples, {setting} ...", file=sys.stderr)
        arguments = {"n_steps": n_steps, "batch_size": options.batch_size, "seed": options.seed}
        report = inspect(model, x, y, dt=dts, verbose=0, **arguments)
        results_by_setting |= {(result.dt, n_steps): result for result in report}
    in_order = [(dt, n_steps) for n_steps in options.n_steps or [None] for dt in options.dt or [None]]
    results = [results_by_setting[setting] for setting in in_order]
    return Report(results, len(x), model=model.name, data=f"{_data_name(options)}, {report.data}", date=report.date)
