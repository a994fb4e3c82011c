"""The commands for recordings of events."""

import argparse
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_snn import checks, data, text_table
from keras_snn.data.events.files import in_order
from keras_snn.data.events.summary import summary_table
from keras_snn.files import check_writable, load_model
from keras_snn.models import SpikingSampler


def events(options: argparse.Namespace) -> None:
    """Print and draw the contents of a recording."""
    n_frames = checks.integer("--frames", options.frames, least=1)
    hot_rate = checks.number("--hot-rate", options.hot_rate, least=0)
    recording = data.read_events(options.file, sort=options.sort)
    size = data.sensor_size(options.file)
    summary = data.summarize_events(recording, hot_rate=hot_rate)
    print(summary_table(summary, size, hot_rate))
    if not len(recording) or summary["height"] is None:
        print("No pictures: the recording has no " + ("y, as from an audio sensor." if len(recording) else "events."))
        return
    out = pathlib.Path(options.out or os.path.join("runs", f"{pathlib.Path(options.file).stem}-events"))
    cloud, pictures, clip = (out / name for name in ("events.png", "frames.png", "clip.gif"))
    check_writable(cloud)
    frames = data.to_frames(recording, size or (summary["height"], summary["width"]), n_frames=n_frames)
    data.plot_events(recording, cloud)
    data.plot_frames(frames, pictures)
    data.animate(frames, clip)
    print(f"Written to {out}: {cloud.name}, {pictures.name}, {clip.name}.")


def compress_events(options: argparse.Namespace) -> None:
    """Write the events that a sampler keeps, and print how many they are."""
    sampler = _sampler(options)
    n_frames, size = _frames_and_size(sampler.reconstructor, "--model")
    window = 1e6 * checks.number("--window", options.window, above=0)  # microseconds
    classifier = load_model(options.verify) if options.verify else None
    if classifier is not None and _frames_and_size(classifier, "--verify")[1] != size:
        raise ValueError(f"--verify must take frames of {size}, as the sampler; got {classifier.input_shape}.")
    pairs, labels = _files(options.input, options.output)
    for _, target in pairs:
        check_writable(target)

    counts = []
    bar = keras.utils.Progbar(None if len(pairs) == 1 else len(pairs), unit_name="part" if len(pairs) == 1 else "file")
    for source, target in pairs:
        counter = _Counter(source, size, bar if len(pairs) == 1 else None)
        kept = sampler.compress_parts(counter.parts(), size, window=window, n_frames=n_frames)
        try:
            data.write_events(target, counter.kept(kept), size)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{target} was not written.") from None
        counts.append((counter.n_read, counter.n_kept))
        if len(pairs) > 1:
            bar.add(1)
    if len(pairs) == 1:
        print()  # the end of the progress line, which has no target
    print("\n".join(text_table.rst(_summary(pairs, counts, sampler.rate))))
    if options.verify is not None:
        _verify(pairs, counts, size)
    if classifier is not None:
        print(_predictions(classifier, pairs, labels, size))


def _sampler(options):
    """Return the sampler, with another rate if there is one."""
    sampler = load_model(options.model)
    if not isinstance(sampler, SpikingSampler):
        raise ValueError(f"--model must be a keras_snn.models.SpikingSampler; got a {type(sampler).__name__}.")
    if options.rate is None:
        return sampler
    rate = checks.number("--rate", options.rate, above=0, most=1)
    mask = sampler.top_k
    return SpikingSampler(
        sampler.sampling_network, sampler.reconstructor, rate, percentile=mask.percentile, surrogate=mask.surrogate
    )


def _frames_and_size(model, option):
    """Return the number of frames of a model of events, and height and width."""
    shape = model.input_shape
    if len(shape) not in (4, 5) or shape[-1] != 2 or None in shape[1:]:
        raise ValueError(
            f"{option} must take frames (batch, frames, height, width, 2) or (batch, height, width, 2); got {shape}."
        )
    return (shape[1] if len(shape) == 5 else 1), tuple(shape[-3:-1])


def _files(source, target):
    """Return the pairs of paths (recording, result), and the labels or None."""
    source, target = pathlib.Path(source), pathlib.Path(target)
    if source.resolve() == target.resolve():
        raise ValueError(f"OUT must be another path than IN; got {str(source)!r} for both.")
    if not source.is_dir():
        return [(source, target)], None
    paths, labels, _ = data.find_recordings(source)
    targets = [(target / pathlib.Path(path).relative_to(source)).with_suffix(".npz") for path in paths]
    if len(set(targets)) < len(targets):
        double = next(path for path in targets if targets.count(path) > 1)
        raise ValueError(f"Two recordings of {str(source)!r} would be written to {str(double)!r}. Rename one of them.")
    return [(pathlib.Path(path), target) for path, target in zip(paths, targets, strict=True)], labels


class _Counter:
    """Count the events that a sampler reads from a recording and keeps, and check the size of the sensor."""

    def __init__(self, path, size, bar):
        self.path, self.size, self.bar = path, size, bar
        self.n_read = self.n_kept = 0
        sensor = data.sensor_size(path)
        if sensor is not None and sensor != size:
            raise ValueError(f"{str(path)!r} must be of a sensor of {size}, as the model; got {sensor}.")

    def parts(self) -> Iterator[np.ndarray]:
        """Yield the parts of the recording."""
        for part in in_order(data.iter_events(self.path), repr(str(self.path)), self.size):
            self.n_read += len(part)
            yield part

    def kept(self, parts: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the parts of the result."""
        for part in parts:
            self.n_kept += len(part)
            if self.bar is not None:
                self.bar.add(1)
            yield part


def _summary(pairs, counts, rate):
    n_read, n_kept = np.sum(counts, axis=0)
    n_bytes = [sum(path.stat().st_size for path in paths) for paths in zip(*pairs, strict=True)]

    def share(before, after):
        return f"{100 * after / before:.1f} % ({before / after:.1f} : 1)" if after else "-"

    return [
        ("", "before", "after", "left"),
        ("recordings", f"{len(pairs):,}", f"{len(pairs):,}", ""),
        ("events", f"{n_read:,}", f"{n_kept:,}", share(n_read, n_kept)),
        ("bytes of the files", f"{n_bytes[0]:,}", f"{n_bytes[1]:,}", share(*n_bytes)),
        ("share of the mask that is 1", "", f"{100 * rate:g} %", ""),
    ]


def _verify(pairs, counts, size):
    """Read the results, and raise an error unless they have the events that were written."""
    for (_, target), (_, n_kept) in zip(pairs, counts, strict=True):
        n = sum(len(part) for part in in_order(data.iter_events(target), repr(str(target)), size))
        if n != n_kept:
            raise ValueError(f"{str(target)!r} must have {n_kept:,} events; got {n:,}. Compress it again.")
    print(f"Verified: {len(pairs):,} files were read again; they have all events that were kept.")


def _predictions(classifier: keras.Model, pairs: list, labels: Any, size: tuple[int, ...]) -> str:
    """Return the accuracies before and after, or without labels the classes."""
    n_frames, _ = _frames_and_size(classifier, "--verify")
    classes = []
    for paths in zip(*pairs, strict=True):
        batches = data.EventFrames([str(path) for path in paths], size=size, n_frames=n_frames)
        scores = [
            classifier.predict_on_batch(batches[i][0] if len(classifier.input_shape) == 5 else batches[i][0][:, 0])
            for i in range(len(batches))
        ]
        classes.append(np.concatenate(scores).argmax(axis=-1))
    before, after = classes
    same = f"The classifier gives {100 * np.mean(before == after):.1f} % of the recordings the same class as before."
    if labels is None:
        return same + (f" Class {before[0]} before, {after[0]} after." if len(pairs) == 1 else "")
    accuracy = [100 * np.mean(found == labels) for found in classes]
    return f"Accuracy of the classifier: {accuracy[0]:.1f} % before, {accuracy[1]:.1f} % after. {same}"
