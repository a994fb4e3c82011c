"""The tables of a report: rows of strings, as text and as HTML."""

import html
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from keras_snn.inspector.findings import DtReport

Rows: TypeAlias = list[tuple[str, ...]]

#: The devices of the energy table for the spiking model, and for the same layers as an ANN.
SPIKING, ANN = ("loihi", "spinnaker2"), ("cpu", "gpu")
DEVICE_COLUMNS = (*(f"{name} (µJ)" for name in SPIKING), *(f"ANN {name} (µJ)" for name in ANN))

ENERGY_NOTE = (
    "Estimates for one inference. Synaptic operations, and multiply-accumulates (MACs) of the same layers in an ANN: "
    "in the layers that spikes reach, without connections of weight zero. Energy: of all layers, without memory, "
    "transport and idle power. Each of these devices has one published cost, used for both kinds of operations."
)


def rates(results: Iterable["DtReport"]) -> Rows:
    """Return a header and a row for each dt and layer."""
    rate_columns = ("rate min", "mean", "max (Hz)", "spikes per step")
    rows: Rows = [("dt (s)", "steps", "accuracy", "layer", *rate_columns, "silent", "saturated")]
    for result in results:
        result_cells = (or_dash(result.n_steps), by_output(result.accuracies, percent))
        for name, layer in result.layers.items():
            dt = f"{result.dt:g}" if result.dt is not None else f"own {or_dash(layer.dt)}"
            three_rates = (f"{rate:.4g}" for rate in (layer.rate.min, layer.rate.mean, layer.rate.max))
            is_first = name == next(iter(result.layers))
            first_cells = (dt, *result_cells) if is_first or result.dt is None else ("",) * 3
            per_step = "-" if layer.spikes_per_step is None else f"{layer.spikes_per_step:.4g}"
            rows.append((*first_cells, name, *three_rates, per_step, percent(layer.silent), percent(layer.saturated)))
    return rows


def energies(results: Iterable["DtReport"]) -> Rows:
    """Return a header and a row for each dt and number of steps."""
    rows: Rows = [("dt (s)", "steps", "synaptic operations", "ANN MACs", "ratio", *DEVICE_COLUMNS)]
    for result in results:
        joules = [result.energy(name) if result.synapses else None for name in (*SPIKING, *ANN)]
        spiking, ann, dense = result.synaptic_operations, result.ann_macs, result.ann_dense_macs
        if not ann:
            operations = ("-", "-", "-")
        else:
            dense_text = f" of {amount(dense)}" if dense != ann else ""
            operations = (amount(spiking), f"{amount(ann)}{dense_text}", amount(spiking / ann))
        microjoules = [amount(None if joule is None else 1e6 * joule) for joule in joules]
        rows.append((dt_label(result.dt), or_dash(result.n_steps), *operations, *microjoules))
    return rows


def spikes(results: Iterable["DtReport"]) -> Rows:
    """Return a header and a row for each dt and number of steps: the spikes of each layer and of all layers."""
    layers = list(dict.fromkeys(name for result in results for name in result.layers))
    rows: Rows = [("dt (s)", "steps", *layers, "all layers")]
    for result in results:
        by_layer = [result.layers[name].spikes_per_inference if name in result.layers else None for name in layers]
        cells = [amount(value) for value in (*by_layer, result.spikes_per_inference)]
        rows.append((dt_label(result.dt), or_dash(result.n_steps), *cells))
    return rows


def as_html(rows: Sequence[Sequence[str]], caption: str, notes: Sequence[str] = ()) -> str:
    """Return a table and the notes below it as HTML."""
    head, *body = [[html.escape(cell) for cell in row] for row in rows]
    lines = ["<table>", f"<caption>{html.escape(caption)}</caption>"]
    lines.append("<thead><tr>" + "".join(f'<th scope="col">{cell}</th>' for cell in head) + "</tr></thead>")
    lines += ["<tbody>", *("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body)]
    lines += ["</tbody>", "</table>", *(f"<p>{html.escape(note)}</p>" for note in notes)]
    return "\n".join(lines)


def origin(report: Any) -> list[str]:
    """Return a list of one line with the model, the data and the date of a report; empty if all are unknown."""
    known = {name: getattr(report, name) for name in ("model", "data", "date")}
    line = "; ".join(f"{name}: {value}" for name, value in known.items() if value is not None)
    return [line] if line else []


def notes(results: Iterable["DtReport"]) -> list[str]:
    """Return the notes of all results without repetition."""
    return list(dict.fromkeys(note for result in results for note in result.notes))


def title(result: "DtReport") -> str:
    """Return the dt and the number of steps as text."""
    dt = "each layer's own dt" if result.dt is None else f"dt = {result.dt:g} s"
    return dt if result.n_steps is None else f"{dt}, {counted(result.n_steps, 'step')}"


def counted(n: int, noun: str) -> str:
    """Return a number with its noun, such as "1 spike" and "1,234 spikes"."""
    return f"{n:,} {noun}{'' if abs(n) == 1 else 's'}"


def dt_label(dt: float | None) -> str:
    """Return the label of a dt in tables and at axes."""
    return "own" if dt is None else f"{dt:g}"


def or_dash(value: float | None) -> str:
    """Return a number, or "-" for None."""
    return "-" if value is None else f"{value:g}"


def amount(value: float | None, sign: str = "") -> str:
    """Return a number with at least three digits; "-" for None."""
    if value is None:
        return "-"
    return f"{value:{sign},.0f}" if abs(value) >= 100 else f"{value:{sign}.3g}"


def percent(fraction: float | None) -> str:
    """Return a fraction in percent, or "-" for None."""
    return "-" if fraction is None else f"{100 * fraction:.2f}%"


def by_output(values: dict[str, float], text: Callable[[float], str]) -> str:
    """Return the name of each output with ``text(value)``; "-" for an empty dict."""
    return ", ".join(f"{name} {text(value)}".strip() for name, value in values.items()) or "-"
