"""The tables of a report: rows of strings, as text and as HTML."""

import html

#: The devices of the energy table: the first run the spiking model, the others the same layers as an ANN.
SPIKING, ANN = ("loihi", "spinnaker2"), ("cpu", "gpu")
DEVICE_COLUMNS = (*(f"{name} (µJ)" for name in SPIKING), *(f"ANN {name} (µJ)" for name in ANN))

ENERGY_NOTE = (
    "For one inference, estimated. Synaptic operations, and multiply-accumulates (MACs) of the same layers in an ANN: "
    "in the layers that spikes reach, without connections of weight zero. Energy: of all layers, without memory, "
    "transport and idle power. For each of these devices, one published cost stands for both kinds of operations."
)


def rates(results):
    """Return a row for each dt and layer, below a header."""
    rates = ("rate min", "mean", "max (Hz)", "spikes per step")
    rows = [("dt (s)", "steps", "accuracy", "layer", *rates, "silent", "saturated")]
    for result in results:
        of_result = (or_dash(result.n_steps), by_output(result.accuracies, percent))
        for name, layer in result.layers.items():
            first = f"{result.dt:g}" if result.dt is not None else f"own {or_dash(layer.dt)}"
            three_rates = (f"{rate:.4g}" for rate in (layer.rate.min, layer.rate.mean, layer.rate.max))
            shown = (first, *of_result) if name == next(iter(result.layers)) or result.dt is None else ("",) * 3
            per_step = "-" if layer.spikes_per_step is None else f"{layer.spikes_per_step:.4g}"
            rows.append((*shown, name, *three_rates, per_step, percent(layer.silent), percent(layer.saturated)))
    return rows


def energies(results):
    """Return a row for each dt and number of steps, below a header."""
    rows = [("dt (s)", "steps", "synaptic operations", "ANN MACs", "ratio", *DEVICE_COLUMNS)]
    for result in results:
        joules = [result.energy(name) if result.synapses else None for name in (*SPIKING, *ANN)]
        spiking, ann, dense = result.synaptic_operations, result.ann_macs, result.ann_dense_macs
        if not ann:
            operations = ("-", "-", "-")
        else:
            of_dense = f" of {amount(dense)}" if dense != ann else ""
            operations = (amount(spiking), f"{amount(ann)}{of_dense}", amount(spiking / ann))
        microjoules = [amount(None if joule is None else 1e6 * joule) for joule in joules]
        rows.append((dt_label(result.dt), or_dash(result.n_steps), *operations, *microjoules))
    return rows


def spikes(results):
    """Return a row for each dt and number of steps with the spikes of each layer and of all, below a header."""
    layers = list(dict.fromkeys(name for result in results for name in result.layers))
    rows = [("dt (s)", "steps", *layers, "all layers")]
    for result in results:
        found = [result.layers[name].spikes_per_inference if name in result.layers else None for name in layers]
        cells = [amount(value) for value in (*found, result.spikes_per_inference)]
        rows.append((dt_label(result.dt), or_dash(result.n_steps), *cells))
    return rows


def as_text(rows):
    """Return the lines of a table, every cell at the right of its column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def as_html(rows, caption, notes=()):
    """Return a table, and the notes below it, as HTML."""
    head, *body = [[html.escape(cell) for cell in row] for row in rows]
    lines = ["<table>", f"<caption>{html.escape(caption)}</caption>"]
    lines.append("<thead><tr>" + "".join(f'<th scope="col">{cell}</th>' for cell in head) + "</tr></thead>")
    lines += ["<tbody>", *("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body)]
    lines += ["</tbody>", "</table>", *(f"<p>{html.escape(note)}</p>" for note in notes)]
    return "\n".join(lines)


def origin(report):
    """Return a line that names the model, the data and the date of a report: a list, empty if none is known."""
    known = {name: getattr(report, name) for name in ("model", "data", "date")}
    line = "; ".join(f"{name}: {value}" for name, value in known.items() if value is not None)
    return [line] if line else []


def notes(results):
    """Return what the results could not find out, each note once."""
    return list(dict.fromkeys(note for result in results for note in result.notes))


def title(result):
    """Return the dt and the number of steps in words."""
    dt = "each layer's own dt" if result.dt is None else f"dt = {result.dt:g} s"
    return dt if result.n_steps is None else f"{dt}, {counted(result.n_steps, 'step')}"


def counted(n, noun):
    """Return a number of things in words, such as "1 spike" and "1,234 spikes"."""
    return f"{n:,} {noun}{'' if abs(n) == 1 else 's'}"


def dt_label(dt):
    """Return a dt in seconds as it stands in tables and at axes."""
    return "own" if dt is None else f"{dt:g}"


def or_dash(value):
    """Return a number, or "-" for None."""
    return "-" if value is None else f"{value:g}"


def amount(value, sign=""):
    """Return a number with three digits at least; "-" for None."""
    if value is None:
        return "-"
    return f"{value:{sign},.0f}" if abs(value) >= 100 else f"{value:{sign}.3g}"


def percent(share):
    """Return a share in per cent, or "-" for None."""
    return "-" if share is None else f"{100 * share:.2f}%"


def by_output(values, text):
    """Return ``text(value)`` of each output in ``values``, after the output's name; "-" without any."""
    return ", ".join(f"{name} {text(value)}".strip() for name, value in values.items()) or "-"
