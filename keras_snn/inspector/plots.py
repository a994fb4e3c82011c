"""Pictures of what the inspector found."""

import numpy as np

_SECONDS = "dt (s)"


def sweep(report):
    """Draw accuracy, and the mean firing rate of each layer, against dt; return the figure."""
    from matplotlib.figure import Figure

    results = list(report)
    dts = [result.dt for result in results]
    labels = ["own" if dt is None else f"{dt:g}" for dt in dts]
    places = range(len(results))
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)

    if all(result.accuracy is not None for result in results):
        left.plot(places, [100 * result.accuracy for result in results], "o-")
        for place, result in zip(places, results, strict=True):
            left.annotate(
                f"{100 * result.accuracy:.1f}",
                (place, 100 * result.accuracy),
                textcoords="offset points",
                xytext=(0, 6),
                ha="center",
            )
        left.margins(0.12, 0.2)
    else:
        left.text(0.5, 0.5, "no labels given", ha="center", transform=left.transAxes)
    left.set(ylabel="accuracy (%)", title=f"Accuracy on {report.n_samples:,} samples")

    for name in results[0].layers:
        right.plot(places, [result.layers[name].rate.mean for result in results], "o-", label=name)
    right.set(ylabel="mean firing rate (Hz)", title="Spikes")
    right.set_ylim(bottom=0)
    right.legend(frameon=False)
    for axis in (left, right):
        axis.set_xticks(places, labels)
        axis.set_xlabel(_SECONDS)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def examples(result, *, class_names=None):
    """Draw each example's input, the spikes of each unit at each step, and the output over time; return the figure."""
    from matplotlib.figure import Figure

    few = result.examples
    if few is None:
        raise ValueError("the report holds no examples: call inspect with examples=4, say")
    n = len(next(iter(few.counts.values())))
    n_columns = 1 + len(few.counts) + (few.outputs is not None)
    figure = Figure(figsize=(3.2 * n_columns, 2.3 * n + 0.3), layout="constrained")
    axes = figure.subplots(n, n_columns, squeeze=False)
    dt = "the model's own dt" if result.dt is None else f"dt = {result.dt:g} s"
    accuracy = "" if result.accuracy is None else f", accuracy {100 * result.accuracy:.1f} %"
    figure.suptitle(dt + accuracy)
    for i, row in enumerate(axes):
        row = iter(row)
        _input(next(row), few, i, class_names)
        for name, counts in few.counts.items():
            axis = next(row)
            raster(axis, counts[i])
            if i == 0:
                axis.set_title(f"{name}: spikes in each step", fontsize=9)
        if few.outputs is not None:
            axis = next(row)
            output_over_time(axis, few.steps, few.outputs[i], class_names=class_names)
            if i == 0:
                axis.set_title("output given the first k steps", fontsize=9)
    for axis in axes[-1, 1:]:
        axis.set_xlabel("time step")
    if few.outputs is not None:
        axes[-1, -1].set_xlabel("steps k")
    return figure


def raster(axis, counts):
    """Draw the spikes ``counts (time, units)`` of one sample; return ``axis``."""
    image = axis.imshow(
        counts.T,
        aspect="auto",
        interpolation="nearest",
        origin="lower",
        cmap="Greys",
        vmin=0,
        vmax=max(1, counts.max()),
        extent=(0.5, len(counts) + 0.5, -0.5, counts.shape[1] - 0.5),
    )
    most = int(image.get_clim()[1])
    axis.figure.colorbar(image, ax=axis, ticks=range(0, most + 1, max(1, most // 4)), pad=0.02)
    axis.set_ylabel("unit")
    axis.xaxis.get_major_locator().set_params(integer=True)
    return axis


def output_over_time(axis, steps, outputs, *, class_names=None, n_classes=3):
    """Draw ``outputs (len(steps), classes)`` as probabilities; name the last step's largest. Return ``axis``."""
    shares = _probabilities(outputs)
    largest = np.argsort(shares[-1])[::-1][:n_classes]
    for k in range(shares.shape[1]):
        named = k in largest
        axis.plot(
            steps,
            shares[:, k],
            marker="." if named else None,
            color=None if named else "0.8",
            zorder=2 if named else 1,
            label=_name(k, class_names) if named else None,
        )
    axis.set(ylim=(-0.03, 1.03), ylabel="probability")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(fontsize=7, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return axis


def _input(axis, few, i, class_names):
    image = few.x[i] if isinstance(few.x, np.ndarray) else None
    if image is not None and image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    if image is not None and (image.ndim == 2 or (image.ndim == 3 and image.shape[-1] == 3)):
        axis.imshow(image, cmap="gray")
        axis.set_xticks([])
        axis.set_yticks([])
    elif image is not None and image.ndim == 1:
        axis.plot(image)
        axis.set_xlabel("feature")
    else:
        axis.set_axis_off()
    if few.y is not None:
        label = np.asarray(few.y[i])
        axis.set_title(_name(int(label.argmax() if label.size > 1 else label.reshape(())), class_names), fontsize=9)


def _probabilities(outputs):
    """Return ``outputs`` if they are probabilities, else their softmax."""
    if np.all(outputs >= 0) and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3):
        return outputs
    shifted = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def _name(k, class_names):
    return f"class {k}" if class_names is None else class_names[k]
