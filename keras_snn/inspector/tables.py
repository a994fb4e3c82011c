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
#: The device with separate costs of a multiply-accumulate and of an accumulate, for both.
ARITHMETIC = "45nm"
ENERGY_COLUMNS = (f"{ARITHMETIC} (µJ)", *DEVICE_COLUMNS[:2], f"ANN {ARITHMETIC} (µJ)", *DEVICE_COLUMNS[2:])

OPERATIONS_NOTE = (
    "Numbers for one inference, without connections of weight zero. Synaptic operations (accumulates, ACs): in the "
    "layers that spikes reach. MACs: multiply-accumulates of layers with analog inputs, in each run. Memory: a weight "
    "of 4 bytes read for each AC and MAC, and a state of 4 bytes read and written for each neuron update, without any "
    "cache. ANN MACs: of the layers that spikes reach, run once as an ANN. Ratio: ACs divided by ANN MACs."
)
ENERGY_NOTE = (
    "Estimates for one inference of all layers. 45nm: 4.6 pJ per MAC and 0.9 pJ per AC, arithmetic only. The chips "
    "have one published cost for both. ANN: the same layers run once, with analog values. "
    "keras_snn.energy.device_table() shows the range and the source of each constant."
)


def dataframe(rows: list[dict[str, Any]]) -> Any:
    """Return a pandas ``DataFrame`` of dicts.

    Raises:
        ImportError: If pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("`to_dataframe` needs pandas: pip install pandas") from error
    return pd.DataFrame(rows)


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


def operations(results: Iterable["DtReport"]) -> Rows:
    """Return a header and a row for each dt and number of steps: operations and memory traffic."""
    columns = ("synaptic operations (ACs)", "MACs", "neuron updates", "memory (kB)", "ANN MACs", "ratio")
    rows: Rows = [("dt (s)", "steps", *columns)]
    for result in results:
        spiking, ann, dense = result.synaptic_operations, result.ann_macs, result.ann_dense_macs
        of_all_layers = (
            (result.macs, result.neuron_updates, result.memory_traffic / 1e3) if result.synapses else [None] * 3
        )
        if not ann:
            of_spikes = ("-", "-", "-")
        else:
            dense_text = f" of {amount(dense)}" if dense != ann else ""
            of_spikes = (amount(spiking), f"{amount(ann)}{dense_text}", amount(spiking / ann))
        cells = (of_spikes[0], *map(amount, of_all_layers), *of_spikes[1:])
        rows.append((dt_label(result.dt), or_dash(result.n_steps), *cells))
    return rows


def energies(results: Iterable["DtReport"]) -> Rows:
    """Return a header and a row for each dt and number of steps: the energy on each device."""
    rows: Rows = [("dt (s)", "steps", *ENERGY_COLUMNS)]
    for result in results:
        joules: list = [None] * len(ENERGY_COLUMNS)
        if result.synapses:
            as_snn = [result.energy(name) for name in (ARITHMETIC, *SPIKING)]
            joules = [*as_snn, *(result.energy(name, as_ann=True) for name in (ARITHMETIC, *ANN))]
        rows.append((dt_label(result.dt), or_dash(result.n_steps), *map(microjoules, joules)))
    return rows


def microjoules(joules: float | None) -> str:
    """Return an energy in µJ as text, or "-" for None."""
    return amount(None if joules is None else 1e6 * joules)


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
