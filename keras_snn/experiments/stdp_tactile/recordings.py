"""Recordings of fingers that slide over surfaces: open data sets, and a simulation for runs without data."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_snn import checks
from keras_snn.experiments.stdp_tactile.published import ROUGHNESS
from keras_snn.files import load_arrays

#: Samples per second, slides of each surface, and speed in mm/s of the simulation.
RATE, N_SLIDES, SPEED = 4000, 10, 200.0

#: First and last frame of a BioTac recording. In the first 0.5 s the finger is pressed on. Material 0 was recorded for
#: 6 s, the others for 8 s: whole recordings would show the class by their length.
_BIOTAC_START, _BIOTAC_STOP = 50, 599


@dataclass(frozen=True)
class TouchSet:
    """Signals of two sensors for slides over several surfaces or materials.

    Attributes:
        name: Name of the set.
        sensors: Names of the two sensors, the counterparts of the two films of the publication.
        classes: Names of the classes.
        signals: For each sensor, the list of its signals: float32 vectors of any length, 0 at rest.
        unit: Unit of the signals.
        labels: Class of each slide, an integer array ``(slides,)``.
        source: Origin of the set and choice of the sensors, as a text.
    """

    name: str
    sensors: tuple[str, str]
    classes: tuple[str, ...]
    signals: tuple[list[np.ndarray], list[np.ndarray]]
    unit: str
    labels: np.ndarray
    source: str


def find_sets(data_name: str) -> list[str]:
    """Return the values for ``load``: ``data_name`` itself, or the paths of all sets in the folder ``data_name``.

    Raises:
        ValueError: If ``data_name`` is neither "simulated" nor a set, nor a folder with one.
    """
    data_name = os.fspath(data_name)
    if data_name == "simulated" or (os.path.isfile(data_name) and os.path.basename(data_name) in _READERS):
        return [data_name]
    found = [path for name in _READERS if os.path.isfile(path := os.path.join(data_name, name))]
    if not found:
        raise ValueError(
            f"`data_name` must be 'simulated', the path of {_NAMES}, or a folder with one of these files; got "
            f"{data_name!r}."
        )
    return found


def set_name(path: str) -> str:
    """Return the name of the set that ``load`` reads from a path of ``find_sets``."""
    return path if path == "simulated" else _READERS[os.path.basename(path)][0]


def load(data_name: str = "simulated", seed: int = 0) -> TouchSet:
    """Return a set of slides.

    Args:
        data_name: "simulated"; the path of ``biotac.npz``, ``icub.npz`` or ``fabric_slide.npz``; or of a folder with
            one of these files. Default "simulated".
        seed: Integer, for the simulation. Default 0.

    Raises:
        ValueError: For another ``data_name``, for a folder with several sets, or for a file that lacks an array.
        OSError: If the file cannot be read.
    """
    seed = checks.integer("seed", seed, least=0)
    paths = find_sets(data_name)
    if len(paths) > 1:
        names = ", ".join(map(os.path.basename, paths))
        raise ValueError(
            f"`data_name` must be one set; the folder {data_name!r} has {names}. Give the path of one of the files."
        )
    (path,) = paths
    return simulated(seed) if path == "simulated" else _READERS[os.path.basename(path)][1](path)


def simulated(seed: int = 0) -> TouchSet:
    """Simulate 10 slides over each of 8 textures, from a roughness of 50 to 0.4 micrometers.

    A texture is the sum of a sine wave and of smoothed noise over the position. Its wavelength is 2 mm for 50
    micrometers. Wavelength and amplitude are proportional to the square root of the roughness. The speed rises from
    zero and falls to zero, with a mean of about 200 mm/s and a duration of 0.2 to 0.3 s. The vibration is proportional
    to the speed and to the force of the hand, which differs from slide to slide. The sensor "along" receives half of
    the sine wave and another texture noise. Its measurement noise is three times that of the sensor "across".

    All constants are assumptions. Accuracies on this set say nothing about a real sensor.

    Args:
        seed: Integer. Default 0.
    """
    rng = np.random.default_rng(checks.integer("seed", seed, least=0))
    across, along, labels = [], [], []
    for label, roughness in enumerate(ROUGHNESS):
        wavelength, amplitude = 2.0 * (roughness / 50) ** 0.5, (roughness / 50) ** 0.5
        for _ in range(N_SLIDES):
            n = int(RATE * rng.uniform(0.2, 0.3))
            course = np.sin(np.pi * (np.arange(n) + 0.5) / n)
            position = np.cumsum(course) * np.pi / 2 * SPEED * rng.uniform(0.8, 1.2) / RATE
            vibration = amplitude * rng.lognormal(0, 0.2) * course
            sine = np.sin(2 * np.pi * position / wavelength + rng.uniform(0, 2 * np.pi))
            for signals, share, noise in ((across, 1.0, 0.02), (along, 0.5, 0.06)):
                texture = share * sine + 0.5 * _smoothed_noise(position / wavelength, rng)
                signals.append((vibration * texture + noise * rng.standard_normal(n)).astype("float32"))
            labels.append(label)
    return TouchSet(
        "simulated",
        ("across", "along"),
        tuple(f"{roughness:g} um" for roughness in ROUGHNESS),
        (across, along),
        "a.u.",
        np.array(labels),
        "Simulated slides over sine and noise textures of eight roughness levels. Not measured.",
    )


def _smoothed_noise(position, rng):
    """Return noise that is interpolated between independent heights, four per wavelength."""
    heights = rng.standard_normal(int(4 * position[-1]) + 2)
    return np.interp(4 * position, np.arange(len(heights)), heights)


def _read_biotac(path):
    arrays = load_arrays(path, "the BioTac recordings", ("x", "length", "label", "material", "columns"))
    columns = arrays["columns"].tolist()
    stops = np.minimum(arrays["length"], _BIOTAC_STOP)
    frames = [x[_BIOTAC_START:stop] for x, stop in zip(arrays["x"], stops, strict=True)]
    first = columns.index("pac1")
    vibration = [x[:, first : first + 22].reshape(-1) for x in frames]
    electrode = [x[:, columns.index("ele11")] for x in frames]
    return TouchSet(
        "BioTac",
        ("vibration pac, 2.2 kHz", "electrode ele11, 100 Hz"),
        tuple(arrays["material"].tolist()),
        (_as_float32(vibration), _as_float32(electrode)),
        "counts",
        arrays["label"].astype(int),
        "BioTac_slide_20_50 (Gao et al. 2020, IROS), 20 materials, 50 slides each; from 0.5 to 5.99 s. The file has "
        "absolute deviations from rest. pac is the fluid's vibration, as of a film; ele11 is the electrode with the "
        "largest standard deviation (median over all slides, without labels).",
    )


def _read_icub(path):
    arrays = load_arrays(path, "the iCub recordings", ("x", "label"))
    x = arrays["x"].reshape(*arrays["x"].shape[:2], -1)
    labels = arrays["label"].astype(int)
    return TouchSet(
        "iCub",
        ("taxel 14", "taxel 4"),
        tuple(f"material {label}" for label in range(labels.max() + 1)),
        (_as_float32(x[:, :, 14]), _as_float32(x[:, :, 4])),
        "counts",
        labels,
        "BioTac_slide_20_50 (Gao et al. 2020, IROS), iCub fingertip, 20 materials, 50 slides each. The taxels with the "
        "largest standard deviation (median over all slides, without labels). The values of the file repeat with a "
        "period of 6 frames, so the order of its time axis is doubtful.",
    )


def _read_fabric(path):
    names = ("x", "offset", "label", "fabric", "force", "speed_mmps")
    arrays = load_arrays(path, "the recordings of FabricSlide", names)
    labels = arrays["label"].astype(int)
    conditions = list(zip(arrays["force"].tolist(), arrays["speed_mmps"].tolist(), strict=True))
    common = set(conditions)
    for label in np.unique(labels):
        common &= {conditions[i] for i in np.flatnonzero(labels == label)}
    slides = [i for i, condition in enumerate(conditions) if condition in common]
    x, offset = arrays["x"].astype("float32"), arrays["offset"]
    frames = [x[offset[i] : offset[i + 1]] for i in slides]
    frames = [frame - frame.mean(axis=0) for frame in frames]
    return TouchSet(
        "FabricSlide",
        ("taxel 4", "taxel 12"),
        tuple(arrays["fabric"].tolist()),
        (_as_float32(frame[:, 4] for frame in frames), _as_float32(frame[:, 12] for frame in frames)),
        "counts",
        labels[slides],
        "FabricSlide (Wang et al. 2022, Front. Neurorobot.), 7 fabrics, 35.7 Hz: the slides with a force and a signed "
        "speed that all fabrics have, because force and speed would show the class. Each signal minus its mean: a film "
        "sees changes only. The taxels with the largest standard deviation (median over all slides, without labels). "
        "Slides of one fabric have the same profile along their path: the median correlation of resampled signals of "
        "taxel 4 is 0.73 between speeds, and 0.11 between fabrics. A signal also identifies the piece of fabric.",
    )


def _as_float32(signals):
    return [np.ascontiguousarray(signal, "float32") for signal in signals]


_READERS: dict[str, tuple[str, Callable[[str], TouchSet]]] = {
    "biotac.npz": ("BioTac", _read_biotac),
    "icub.npz": ("iCub", _read_icub),
    "fabric_slide.npz": ("FabricSlide", _read_fabric),
}
_NAMES = "biotac.npz, icub.npz or fabric_slide.npz"
