"""The command that classifies image files."""

import argparse
import json
import os
import pathlib
from typing import Any

import keras
import numpy as np

from keras_snn import checks, text_table
from keras_snn.files import check_writable, load_model
from keras_snn.inspector import inspect
from keras_snn.inspector.samples import chosen_class_names, class_name, probabilities

MOST_DRAWN = 20


def classify(options: argparse.Namespace) -> None:
    """Print the classes of image files, their probabilities, and the number of spikes."""
    path = pathlib.Path(options.model) if options.model else _newest_model()
    # The default model has the classes of Fashion-MNIST.
    class_names = chosen_class_names(options.classes or (None if options.model else "fashion_mnist"))
    picture = None if options.show is None else pathlib.Path(options.show)
    if picture is not None:
        if len(options.images) > MOST_DRAWN:
            raise ValueError(f"--show draws at most {MOST_DRAWN} images; got {len(options.images)}.")
        check_writable(picture)
    model = load_model(path)
    size = _image_size(model)
    x: Any = np.stack([read_image(file, size, invert=options.invert) for file in options.images])
    if options.no_scale:
        x *= 255
    x = x.reshape(-1, *model.input_shape[1:])
    n_steps = checks.integer("--n-steps", options.n_steps, least=1, optional=True)
    report = inspect(model, x, dt=options.dt, n_steps=n_steps, examples=len(x), seed=options.seed, verbose=0)
    (result,) = report
    if not isinstance(result.examples.output, np.ndarray):
        raise ValueError(f"{path} must be a classifier with one output (batch, classes), to classify images.")
    scores = probabilities(result.examples.output[:, -1])
    names = [class_name(k, class_names) for k in range(scores.shape[-1])]
    spikes = sum(counts.sum(axis=(1, 2)) for counts in result.examples.counts.values())
    if options.json:
        print(json.dumps(_as_dict(path, result, options.images, scores, names, spikes), indent=2))
    else:
        rows = [["file", "class", *names, "spikes"]]
        for file, row, n in zip(options.images, scores, spikes, strict=True):
            rows.append([file, names[row.argmax()], *(f"{100 * p:.1f}" for p in row), str(int(n))])
        setting = "each layer's dt" if result.dt is None else f"dt = {result.dt:g} s"
        print(f"{path}, {setting}, {result.n_steps} steps; probabilities in %")
        print("\n".join(text_table.rst(rows)))
    if picture is not None:
        result.plot(picture, class_names=class_names)
        if not options.json:
            print(f"Written to {picture}.")


def _newest_model():
    """Return the path of the newest spiking model that ``keras-snn run fashion-mnist`` has saved."""
    files = [file for file in pathlib.Path("runs").glob("fashion-mnist-*/**/*.keras") if file.stem != "ann"]
    if not files:
        raise ValueError(
            "No model of `keras-snn run fashion-mnist` was found in runs/. Run this command first, or give --model."
        )
    return max(files, key=lambda file: file.stat().st_mtime)


def _image_size(model: keras.Model) -> tuple[int, int, int]:
    """Return height, width and number of channels of a model's images."""
    shape: Any = getattr(model, "input_shape", None)
    is_single = isinstance(shape, tuple) and None not in shape[1:]
    if not is_single or len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,)):
        raise ValueError(
            f"The model must have one input of images (height, width), with 1 or 3 channels or without; got {shape}."
        )
    return *shape[1:3], shape[3] if len(shape) == 4 else 1


def read_image(path: str | os.PathLike, size: tuple[int, int, int], *, invert: bool = False) -> np.ndarray:
    """Return an image file as an array of the given size. It keeps its proportions; added borders are black.

    Args:
        path: Path of a file that Pillow reads. Transparent pixels become black.
        size: Height, width and number of channels, 1 or 3.
        invert: Boolean. True: dark pixels become bright, as in the data sets, whose objects are bright on black.

    Returns:
        float32 array of the shape ``size``, in [0, 1].

    Raises:
        OSError: The file cannot be read.
        ImportError: Pillow is missing.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError(f"Image files need Pillow: pip install 'keras_snn[data]' ({error})") from error

    height, width, channels = size
    mode = "L" if channels == 1 else "RGB"
    try:
        with Image.open(path) as file:
            image: Any = ImageOps.exif_transpose(file)
            if image.mode.startswith("I;16"):  # Pillow would clip its values
                image = Image.fromarray((np.asarray(image) // 257).astype("uint8"))
            if image.has_transparency_data:
                background = Image.new("RGBA", image.size, "white" if invert else "black")
                image = Image.alpha_composite(background, image.convert("RGBA"))
            image = image.convert(mode)
            if invert:
                image = ImageOps.invert(image)
            image = ImageOps.pad(image, (width, height), Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise OSError(f"{os.fspath(path)} cannot be read as an image: {error}") from error
    return np.asarray(image, "float32").reshape(size) / 255


def _as_dict(path, result, files, scores, names, spikes):
    images = [
        {
            "file": str(file),
            "class": names[row.argmax()],
            "probabilities": {name: round(float(p), 6) for name, p in zip(names, row, strict=True)},
            "spikes": int(n),
        }
        for file, row, n in zip(files, scores, spikes, strict=True)
    ]
    return {"model": str(path), "dt": result.dt, "n_steps": result.n_steps, "images": images}
