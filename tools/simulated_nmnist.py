"""Compare simulated events with N-MNIST, for the same digits: ``python tools/simulated_nmnist.py FILE``.

FILE is a file of recordings for ``keras_snn.data.load("nmnist", path=FILE)`` whose training recordings are those of the
first digits of MNIST, in MNIST's order.
"""

import sys

import numpy as np

from keras_snn import data, text_table

SIZE = (34, 34)


def figures(recordings):
    """Return the number of events of each sample, the mean histogram, and the rows of the table."""
    n = np.array([len(events) for events in recordings])
    joined = np.concatenate(recordings)
    histograms = [data.to_frames(events, SIZE, n_frames=1).sum((0, 3)) for events in recordings]
    cells = (
        f"{n.mean():,.0f} ± {n.std():,.0f}",
        f"{100 * joined['p'].mean():.1f}",
        f"{np.mean([events['t'][-1] for events in recordings]) / 1000:.0f}",
        f"{np.mean([histogram.max() for histogram in histograms]):.1f}",
    )
    return n, np.mean(histograms, axis=0), cells


def main(path):
    """Print the table."""
    (real, labels), _ = data.load("nmnist", path=path)
    (images, digits), _ = data.load("mnist")
    if not np.array_equal(labels, digits[: len(labels)]):
        raise ValueError(f"{path!r} must have the first {len(labels)} digits of MNIST.")
    simulated = data.simulate_saccades(images[: len(labels)])
    n_simulated, histogram, cells = figures(simulated)
    n_real, real_histogram, real_cells = figures(real)
    names = ("events per sample", "polarity 1 (%)", "duration (ms)", "busiest pixel (events)")
    rows = [("figure", "simulated", "N-MNIST"), *zip(names, cells, real_cells, strict=True)]
    print("\n".join(text_table.rst(rows)))
    print(f"correlation of the numbers of events: {np.corrcoef(n_simulated, n_real)[0, 1]:.2f}")
    print(f"correlation of the histograms: {np.corrcoef(histogram.ravel(), real_histogram.ravel())[0, 1]:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
