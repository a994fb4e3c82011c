"""The command ``keras-snn``."""

import argparse
import os
import sys


def main(arguments=None):
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="keras-snn", description="Spiking neural networks as Keras 3 layers.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="reproduce a published result")
    run.add_argument("name", help="see `keras-snn list`")
    run.add_argument("--preset", default="quick", choices=("quick", "full"), help="minutes, or as published")
    run.add_argument(
        "--data",
        metavar="sample|full|PATH",
        help="the embedded sample, the whole set (from KERAS_HOME, or downloaded), or the whole set from a folder of "
        "tensorflow_datasets (default: the preset's)",
    )
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--epochs", type=int, help="default: the preset's")
    run.add_argument("--out", metavar="DIR", help="folder for the results (default: runs/NAME-PRESET)")
    commands.add_parser("list", help="list the experiments")
    options = parser.parse_args(arguments)

    from keras_snn import experiments

    if options.command == "list":
        for name, text in experiments.EXPERIMENTS.items():
            print(f"{name:16} {text}")
        return 0
    return _run(experiments, options)


def _run(experiments, options):
    out = options.out or os.path.join("runs", f"{options.name}-{options.preset}")
    try:
        experiments.get(options.name).run(
            preset=options.preset, data_name=options.data, seed=options.seed, epochs=options.epochs, out=out
        )
    except KeyboardInterrupt:
        print(f"\nInterrupted. What was finished is in {out}; the same command goes on from there.", file=sys.stderr)
        return 130
    except (ImportError, OSError, ValueError) as error:
        print(f"keras-snn: {error}", file=sys.stderr)
        return 1
    return 0
