"""An experiment as data, and the one function that runs it."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_snn import checks
from keras_snn.experiments.record import Record
from keras_snn.experiments.registry import Entry, check_devices
from keras_snn.ops.backend import start_devices


@dataclass(frozen=True)
class Part:
    """One training of a run, as ``train_part`` receives it.

    Attributes:
        name: Name in the results. In an experiment over several seeds: "kind, seed n".
        kind: Name without the seed.
        seed: Seed of the training.
        config: Configuration of the run.
        data: Result of ``Experiment.load``.
        folder: Folder of the results.
        finished: Results of the finished parts, by name.
        verbose: Whether to print progress.
    """

    name: str
    kind: str
    seed: int
    config: Mapping[str, Any]
    data: Sequence
    folder: Path
    finished: Mapping[str, dict]
    verbose: bool

    def log(self, text: str) -> None:
        """Print a line of progress."""
        if self.verbose:
            print(text)


@dataclass(frozen=True)
class Experiment:
    """A published experiment.

    Attributes:
        entry: Name, summary, and names of presets and data sets.
        presets: Configurations by the name of the preset.
        parts: Function of the configuration that returns the names of the default parts. A part is one training; the
            preset's ``n_seeds`` repeats it with other seeds.
        load: Function of the configuration that returns a sequence. Its first item is the pair of training images and
            labels.
        train_part: Function of a ``Part`` that returns a dict of its results.
        table: Function of the results that returns the text tables.
        draw: Function of the results and the folder that writes the pictures.
        figures: Names that the results of each part must have.
        known_parts: Function of the configuration that returns the names that ``only`` accepts. Default: ``parts``.
        adjustments: Changes of a preset, by the pair (preset, data set).
        configure: Function of the configuration and of ``options`` that returns further items of the configuration.
        options: Names of further arguments of ``configuration``, which are passed to ``configure``.
        epochs_of: Function of the kind and the configuration that returns the number of epochs. Default: the
            configuration's.
        unit: What a training sample is, in the plural. Default "images".
    """

    entry: Entry
    presets: Mapping[str, dict]
    parts: Callable[[dict], Sequence[str]]
    load: Callable[[dict], Sequence]
    train_part: Callable[[Part], dict]
    table: Callable[[dict], str]
    draw: Callable[[dict, Path], None]
    figures: Sequence[str]
    known_parts: Callable[[dict], Sequence[str]] | None = None
    adjustments: Mapping[tuple[str, str], dict] = field(default_factory=dict)
    configure: Callable[..., dict] | None = None
    options: tuple[str, ...] = ()
    epochs_of: Callable[[str, dict], int] | None = None
    unit: str = "images"

    def __post_init__(self) -> None:
        if tuple(self.presets) != self.entry.presets:
            raise ValueError(f"`presets` must be those of the registry, {self.entry.presets}; got {[*self.presets]}.")

    def run(self, **arguments: Any) -> dict:
        """Call ``execute`` with this experiment. ``arguments`` are those of ``execute`` and of ``configuration``."""
        return execute(self, **arguments)


def execute(
    experiment: Experiment,
    *,
    out: str | Path | None = None,
    only: Sequence[str] | None = None,
    verbose: bool = True,
    **arguments: Any,
) -> dict:
    """Train the parts of an experiment, write ``results.json`` and pictures, and print the table.

    Each finished part is saved. An interrupted run continues with the next part, if configuration and versions are
    the same. With several processes, process 0 writes and prints, and a run starts anew: the others have no record.

    Args:
        experiment: The ``Experiment``.
        out: Folder of the results. Default: ``runs/NAME-PRESET``, or ``runs/NAME-DATASET-PRESET`` with ``dataset``.
        only: Names of the parts to train, without seeds. Default: the experiment's.
        verbose: Whether to print progress.
        **arguments: Arguments of ``configuration``.

    Returns:
        The dict that was written to ``results.json``.

    Raises:
        TypeError: For an argument that the experiment does not have.
        ValueError: For an invalid argument.
        OSError: If ``out`` cannot be written. Raised before the training.
    """
    config = configuration(experiment, **arguments)
    devices = start_devices(config["devices"]) if "devices" in config else None
    if devices is not None and devices.process > 0:
        with tempfile.TemporaryDirectory() as folder:
            return _execute(experiment, config, folder, only, False, arguments, resume=False)
    resume = devices is None or devices.n_processes == 1
    return _execute(experiment, config, out, only, verbose, arguments, resume=resume)


def _execute(experiment, config, out, only, verbose, arguments, *, resume):
    kinds = list(experiment.parts(config) if only is None else only)
    for kind in kinds:
        checks.choice("only", kind, (experiment.known_parts or experiment.parts)(config))
    parts = _named_parts(kinds, config)

    loaded = experiment.load(config)  # Before the record: if this fails, earlier results stay.
    if out is None:
        out = experiment.entry.folder(config["preset"], arguments.get("dataset"))
    record = Record(out, config, experiment.figures, resume=resume)
    log = print if verbose else _discard
    if record.left_out:
        log(f"These parts of {record.path} are incomplete and run again: {', '.join(record.left_out)}.")
    if record.parts:
        log(f"Continuing an interrupted run. Finished parts: {', '.join(record.parts)}.")
    for name, (kind, part_seed) in parts.items():
        if name in record.parts:
            continue
        n_epochs = experiment.epochs_of(kind, config) if experiment.epochs_of else config["epochs"]
        log(f"\n{name}: epochs: {n_epochs}, {experiment.unit}: {len(loaded[0][0]):,}")
        part = Part(name, kind, part_seed, config, loaded, record.folder, record.parts, verbose)
        record.add(name, experiment.train_part(part))
    record.finish()
    experiment.draw(record.data, record.folder)
    log(f"\n{experiment.table(record.data)}\n\nResults and pictures are in {record.folder}.")
    return record.data


def configuration(
    experiment: Experiment,
    *,
    preset: str = "quick",
    data_name: str | None = None,
    dataset: str | None = None,
    seed: int = 0,
    epochs: int | None = None,
    n_seeds: int | None = None,
    devices: int = 1,
    **options: Any,
) -> dict[str, Any]:
    """Return the dict that decides the results.

    Args:
        experiment: The ``Experiment``.
        preset: Name of a preset of the experiment.
        data_name: "sample" (part of the images), "full" (all images, through ``keras.datasets``), or a path: a
            ``tensorflow_datasets`` folder, or a file that the experiment reads. Default: the preset's, and "full" for
            other data sets than the default.
        dataset: Name of a data set of the experiment. Default: the first one.
        seed: Seed of the training, at least 0. Over several seeds: the first one.
        epochs: Number of epochs. Default: the preset's.
        n_seeds: Number of seeds, for experiments over several seeds. Default: the preset's.
        devices: Number of devices for the training. Default 1. The figures are the same to rounding.
        **options: Arguments that only this experiment has.

    Raises:
        TypeError: For an argument that the experiment does not have.
        ValueError: For an invalid argument.
    """
    entry = experiment.entry
    if unknown := sorted(options.keys() - set(experiment.options)):
        raise TypeError(f"{entry.name!r} has no argument {', '.join(map(repr, unknown))}.")
    checks.choice("preset", preset, experiment.presets)
    seed = checks.integer("seed", seed, least=0)
    config = {"experiment": entry.name, "preset": preset, "seed": seed, **experiment.presets[preset]}
    if entry.datasets:
        default = entry.datasets[0]
        config["dataset"] = checks.choice("dataset", default if dataset is None else dataset, entry.datasets)
        if config["dataset"] != default:
            config["data"] = "full"
        config |= experiment.adjustments.get((preset, config["dataset"]), {})
    elif dataset is not None:
        raise ValueError(f"`dataset` must be None for {entry.name!r}, which has one data set; got {dataset!r}.")
    if data_name is not None:
        config["data"] = data_name
    if epochs is not None:
        config["epochs"] = checks.integer("epochs", epochs, least=1)
    if n_seeds is not None:
        if "n_seeds" not in config:
            raise ValueError(f"`n_seeds` must be None for {entry.name!r}, which has one seed; got {n_seeds!r}.")
        config["n_seeds"] = checks.integer("n_seeds", n_seeds, least=1)
    check_devices(entry.name, checks.integer("devices", devices, least=1))
    if devices > 1:
        config["devices"] = devices
    return config | experiment.configure(config, **options) if experiment.configure is not None else config


def _named_parts(kinds, config):
    """Return the pairs (kind, seed) by the name of the part. The kinds of a seed follow each other."""
    seed = config["seed"]
    if "n_seeds" not in config:
        return {kind: (kind, seed) for kind in kinds}
    seeds = range(seed, seed + config["n_seeds"])
    return {f"{kind}, seed {each}": (kind, each) for each in seeds for kind in kinds}


def _discard(text):
    """Print nothing."""
