"""The command `keras-snn serve`: lines of events, their frames, the outputs of the model, and the summary."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest

import keras_snn
from keras_snn import data
from keras_snn.cli import main
from keras_snn.data.events.live import BACK, JUMP, REASONS, EventLines, LiveFrames, Rejected, _parsed

SIZE = (5, 7)
WINDOW = 1000
NO_BACKEND = pytest.mark.backend_free


def recording(n=2000, duration=30 * WINDOW, seed=0):
    """Return random events. Some frames have none."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, duration, n)) + 123_456
    t[t > 123_456 + 20 * WINDOW] += 5 * WINDOW
    y, x = (rng.integers(0, k, n) for k in SIZE)
    return data.as_events({"t": t, "x": x, "y": y, "p": rng.integers(0, 2, n)}, SIZE)


def as_text(events, end="\n"):
    return "".join(f"{t},{x},{y},{int(p)}{end}" for x, y, t, p in events.tolist()).encode()


def frames_of(text, n_bytes=None, **options):
    """Return the frames of a text that arrives in parts, and the ``LiveFrames``."""
    live = LiveFrames(SIZE, WINDOW, **{"most_gap": 100 * WINDOW, **options})
    parts = [text] if n_bytes is None else [text[i : i + n_bytes] for i in range(0, len(text), n_bytes)]
    return [frame for part in parts for frame in live.feed(part)] + list(live.end()), live


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return a model with an output for each step, one that averages four steps, and the folder of their files."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("models")

    def model(n_steps, *ends):
        parts = [keras_snn.TimeFold(keras.layers.Flatten()), keras.layers.Dense(8), keras_snn.LIF(threshold=0.2)]
        return keras.Sequential([keras.Input((n_steps, *SIZE, 2)), *parts, *ends])

    each = model(None, keras.layers.Dense(3, activation="softmax"))
    mean = model(4, keras_snn.layers.TemporalAveragePooling(), keras.layers.Dense(3))
    each.save(folder / "each.keras")
    mean.save(folder / "mean.keras")
    return each, mean, folder


def serve(*arguments):
    return main(["serve", *map(str, arguments), "--frame-us", str(WINDOW)])


def lines_of(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_outputs_are_those_of_the_recording(models, tmp_path, capsys):
    each, mean, folder = models
    events = recording()
    path = tmp_path / "events.csv"
    path.write_bytes(as_text(events))
    frames = data.to_frames(events, SIZE, window=WINDOW)
    whole = each.predict(frames[None], verbose=0)[0]

    assert serve(folder / "each.keras", "--events", path, "--classes", "a,b,c") == 0
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    np.testing.assert_allclose([line["probabilities"] for line in lines], whole, atol=2e-6)  # six decimals
    assert [line["class"] for line in lines] == ["abc"[k] for k in whole.argmax(-1)]
    assert [line["step"] for line in lines] == list(range(1, len(frames) + 1))
    assert [line["t"] - WINDOW * line["step"] for line in lines] == [events["t"][0]] * len(frames)
    assert [line["events"] for line in lines] == np.cumsum(frames.sum((1, 2, 3))).tolist()
    assert re.search(r"steps +35\nresets of the stream +0\nevents +2,000\nrejected lines +0\n", captured.err)

    # A model of four steps starts again after each four; the last line is always printed.
    assert serve(folder / "mean.keras", "--events", path, "--every", 4) == 0
    results = np.array([line["probabilities"] for line in lines_of(capsys)])
    scores = mean.predict(frames[:32].reshape(8, 4, *frames.shape[1:]), verbose=0)
    expected = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    assert results.shape == (9, 3)
    np.testing.assert_allclose(results[:8], expected, atol=2e-6)
    assert serve(folder / "mean.keras", "--events", path, "--reset-after", 2, "--every", 4) == 0
    assert np.abs(np.array([line["probabilities"] for line in lines_of(capsys)])[:8] - expected).max() > 1e-3


@NO_BACKEND
@pytest.mark.parametrize("n_bytes", [None, 1, 100, 2**12])
def test_frames_are_those_of_the_recording(n_bytes):
    events = recording(500 if n_bytes == 1 else 2000)
    for polarity in ("channels", "signed"):
        expected = data.to_frames(events, SIZE, window=WINDOW, polarity=polarity)
        frames, live = frames_of(as_text(events), n_bytes, polarity=polarity)
        np.testing.assert_array_equal([frame.counts for frame in frames], expected)
        assert [frame.is_first for frame in frames] == [True] + [False] * (len(expected) - 1)
        assert live.n_events == len(events) and len(live.rejected) == 0


@NO_BACKEND
def test_other_forms_of_a_line():
    events = recording()
    expected = data.to_frames(events, SIZE, window=WINDOW)
    crlf = b"t,x,y,p\r\n\r\n" + as_text(events, "\r\n") + b" \n"
    spaces = as_text(events).replace(b",", b", ")
    floats = as_text(events).replace(b",", b".0,")
    signed = re.sub(rb",0\n", b",-1\n", as_text(events))
    # Within a frame, events may have any order.
    steps = (events["t"] - events["t"][0]) // WINDOW
    order = np.lexsort((np.random.default_rng(1).random(len(events)), steps))
    order = np.r_[0, order[order != 0]]  # the first event is the begin of the first frame
    for text in (crlf, spaces, floats, signed, as_text(events)[:-1], as_text(events[order])):
        frames, live = frames_of(text)
        np.testing.assert_array_equal([frame.counts for frame in frames], expected)
        assert live.rejected.counts.sum() == 0


MALFORMED = {
    "not four numbers t,x,y,p": [
        *("1,2,3", "1,2,3,1,1", "a,b,c,d", "1,2,,1", "0x1,1,1,1", "1_0,1,1,1", ",,,", "1;1;1;1", "1 2,1,1,1"),
        *("1,1,1,1\r2", "\x00", "\u0663,1,1,1", "1" * 2000, "1,1,1,1" + " " * 1000),
    ],
    "not finite": ["nan,1,1,1", "1,inf,1,1", "1,1,-Infinity,1", "1e999,1,1,1"],
    "not whole numbers": ["1000.5,1,1,1", "1000,1.5,1,1", "1000,1,1,0.5", "1000,1,1e-3,1"],
    "negative time or coordinate": ["-1,1,1,1", "1000,-1,1,1", "1000,1,-2.0,1", "-1" + "0" * 30 + ",1,1,1"],
    "outside of the sensor": ["1000,7,1,1", "1000,1,5,1", "1000,1" + "0" * 400 + ",1,1", "1000,99999,1,1"],
    "polarity is not 0 or 1 (or -1)": ["1000,1,1,2", "1000,1,1,-2", "1000,1,1,99"],
    "time goes back to an earlier frame": ["999,1,1,1", "0,1,1,0"],
    "time jumps, and the next event does not confirm it": [
        *("9999999999999,1,1,1", "101001,1,1,1", "1" * 18 + ",1,1,1", "1" + "0" * 300 + ",1,1,1"),
    ],
}


@NO_BACKEND
@pytest.mark.parametrize("n_bytes", [None, 7])
def test_malformed_lines_are_rejected_and_counted(n_bytes):
    assert list(MALFORMED) == list(REASONS.values())
    kinds = [reason for reason, lines in MALFORMED.items() for _ in lines]
    texts = [line for lines in MALFORMED.values() for line in lines]
    order = np.random.default_rng(0).permutation(len(texts))
    lines = ["0,1,1,1", "1000,2,2,0"]  # step 0, then step 1
    for k in order:
        lines += [texts[k], "1000,2,2,0"]
    frames, live = frames_of("\n".join(lines).encode("utf-8"), n_bytes)
    counts = {reason: int(n) for reason, n in zip(REASONS.values(), live.rejected.counts[1:], strict=True)}
    assert counts == {reason: len(lines) for reason, lines in MALFORMED.items()}
    assert len(live.rejected) == len(texts)
    assert len(frames) == 2
    assert [frame.counts.sum() for frame in frames] == [1, 1 + len(texts)]
    examples = {number: reason for number, reason, _ in live.rejected.examples}
    assert len(examples) == 5
    assert all(kinds[order[(number - 3) // 2]] == reason for number, reason in examples.items())


@NO_BACKEND
def test_a_jump_that_the_next_event_confirms_begins_a_new_recording():
    text = b"0,1,1,1\n500,1,1,1\n1000,1,1,1\n"
    for start in (10**12, 10**17):  # a pause of days, and a wrong unit
        later = f"{start},2,2,1\n{start + 5},2,2,1\n{start + 1500},2,2,1\n".encode()
        frames, live = frames_of(text + later + text, most_gap=10 * WINDOW)  # the clock starts again
        assert [frame.is_first for frame in frames] == [True, False] * 3
        assert [frame.counts.sum() for frame in frames] == [2, 1] * 3
        assert [frame.end for frame in frames] == [1000, 2000, start + 1000, start + 2000, 1000, 2000]
        assert len(live.rejected) == 0
    # Without a confirmation, both jumps are rejected, also at the end.
    frames, live = frames_of(text + b"10000000,1,1,1\n1001,1,1,1\n20000000,1,1,1\n90000000,1,1,1\n")
    assert live.rejected.counts[JUMP] == 3
    assert len(frames) == 2


@NO_BACKEND
def test_a_long_line_needs_no_memory():
    lines = EventLines(SIZE, Rejected())
    for _ in range(100):
        assert len(lines.feed(b"1" * 2**16)[0]) == 0
        assert len(lines._rest) <= 1001
    rows, numbers = lines.feed(b"\n5,1,1,1\n")
    assert rows.tolist() == [[5, 1, 1, 1]] and numbers.tolist() == [2]
    assert len(lines.rejected) == 1


@NO_BACKEND
def test_random_text_never_fails_and_every_line_is_counted():
    rng = np.random.default_rng(0)
    alphabet = np.frombuffer(b"0123456789,,,,,\n\n-+.eE\r txypnaif", "uint8")
    valid = as_text(recording(300)).splitlines(keepends=True)
    for k in range(150):
        noise = [
            rng.integers(0, 256, 2000).astype("uint8").tobytes(),
            rng.choice(alphabet, 2000).tobytes(),
            b"".join(rng.choice(valid, 50)),
            b"".join(b",".join(b"%d" % v for v in row) + b"\n" for row in rng.integers(-2, 9, (50, 4)) ** 9),
        ]
        text = bytearray(b"\n".join(noise[i] for i in rng.permutation(4)))
        for place in rng.integers(0, len(text), 20):
            text[place] = rng.integers(0, 256)
        frames, live = frames_of(bytes(text), int(rng.integers(1, 500)) if k % 10 else None, most_gap=50 * WINDOW)
        # By the slow path, line by line
        codes = [_parsed(line)[0] for line in bytes(text).replace(b"\r\n", b"\n").split(b"\n")]
        n_lines = sum(code >= 0 for code in codes)
        assert live.n_events + len(live.rejected) == n_lines
        for code in (1, 2, 3):
            assert live.rejected.counts[code] == codes.count(code)
        assert sum(frame.counts.sum() for frame in frames) == live.n_events
        assert len(frames) <= 50 * n_lines


@NO_BACKEND
def test_a_gap_gives_empty_frames():
    frames, live = frames_of(b"0,1,1,1\n99999,1,1,1\n150000,1,1,1\n")
    assert [frame.counts.sum() for frame in frames] == [1] + [0] * 98 + [1] + [0] * 50 + [1]
    assert live.rejected.counts[BACK] == 0


def test_a_process_answers_while_the_pipe_is_open_and_ends_with_a_summary(models):
    # A shell starts processes in the background with interrupts ignored, and the tests with them.
    code = (
        "import signal, sys, keras_snn.cli as cli; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "sys.exit(cli.main())"
    )
    command = [sys.executable, "-c", code, "serve", os.fspath(models[2] / "each.keras"), "--frame-us", str(WINDOW)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        for k in range(3):
            process.stdin.write(b"%d,1,1,1\nbad\n" % (WINDOW * k))
            process.stdin.flush()
            if k:
                answer = json.loads(process.stdout.readline())
                assert (answer["step"], answer["t"], answer["events"]) == (k, WINDOW * k, k)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert out == b""
    assert b"Traceback" not in err
    assert re.search(rb"steps +2\n", err)
    assert re.search(rb"- not four numbers t,x,y,p +3\n", err)
    assert re.search(rb"\nLine 2, not four numbers t,x,y,p: bad\n", err)


@NO_BACKEND
def test_a_socket_until_the_other_side_closes_it(models, capsys):
    events = recording()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send():
            connection, _ = server.accept()
            with connection:
                connection.sendall(as_text(events))

        thread = threading.Thread(target=send)
        thread.start()
        assert serve(models[2] / "each.keras", "--events", f"127.0.0.1:{server.getsockname()[1]}", "--every", 100) == 0
        thread.join()
    captured = capsys.readouterr()
    (line,) = captured.out.splitlines()
    assert json.loads(line)["events"] == len(events)
    assert re.search(r"rejected lines +0\n", captured.err)


@NO_BACKEND
def test_a_lost_connection_is_an_error_after_the_summary(models, capsys, monkeypatch):
    class Lost(io.BytesIO):
        def read1(self, n):
            raise ConnectionResetError("Connection reset by peer")

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Lost()))
    assert serve(models[2] / "each.keras") == 1
    err = capsys.readouterr().err
    assert re.search(r"steps +0\n", err)
    assert err.endswith("keras-snn: Connection reset by peer\n")


@NO_BACKEND
def test_the_reader_of_the_output_ends(models, capsys, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(as_text(recording()))))
    with os.fdopen(writer, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert serve(models[2] / "each.keras") == 0
    assert re.search(r"steps +1\n", capsys.readouterr().err)


@NO_BACKEND
def test_a_terminal_shows_the_class_and_the_summary(models, capsys, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(as_text(recording()) + b"bad\n")))
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert serve(models[2] / "each.keras", "--classes", "left,right,none") == 0
    text = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", out.getvalue())
    for pattern in (
        r"(left|right|none)\s",
        r"right +━[━╸╺]+ +\d+\.\d %",
        r"step 35",
        r"events/s",
        r"lag \d",
        r"rejected 1",
    ):
        assert re.search(pattern, text), pattern
    assert re.search(r"events +2,000\nrejected lines +1\n", text)
    assert not re.search("^{", text, re.M)
    assert capsys.readouterr().err == ""


@NO_BACKEND
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.keras"], "There is no file 'none.keras'"),
        (["each.keras", "--events", "none.csv"], "No such file or directory: 'none.csv'"),
        (
            ["each.keras", "--events", "127.0.0.1:1"],
            r"--events must be -, a file, or HOST:PORT .* got '127\.0\.0\.1:1'",
        ),
        (["each.keras", "--events", "127.0.0.1:99999"], "--events must be -, a file, or HOST:PORT"),
        (["each.keras", "--frame-us", "0"], "`--frame-us` must be an integer from 1 to 1e[+]09; got 0"),
        (["each.keras", "--every", "0"], "`--every` must be an integer of at least 1; got 0"),
        (["each.keras", "--reset-after", "-1"], "`--reset-after` must be an integer of at least 0 or None; got -1"),
        (["each.keras", "--max-gap-s", "0"], "`--max-gap-s` must be a finite number from 0.001"),
        (["each.keras", "--classes", "a,b"], "--classes must have 3 names, one for each output; got 2"),
        (
            ["vectors.keras"],
            r"MODEL must take frames \(batch, time, height, width, channels\) .* got \(None, None, 4\)",
        ),
        (["still.keras"], "MODEL must run step by step on frames: .* creates its time axis"),
        (["frames.keras"], r"MODEL must be a classifier with one output \(batch, classes\); got \(1, 5, 7, 2\)"),
    ],
)
def test_errors_are_one_line(models, monkeypatch, capsys, arguments, message):
    _, _, folder = models
    monkeypatch.chdir(folder)
    spikes, average = keras_snn.LIF(), keras_snn.layers.TemporalAveragePooling()
    if arguments[0] == "vectors.keras":
        keras.Sequential([keras.Input((None, 4)), spikes, average]).save("vectors.keras")
    if arguments[0] == "still.keras":
        parts = [keras.layers.Flatten(), keras_snn.Repeat(3), spikes, average]
        keras.Sequential([keras.Input((5, 7, 2)), *parts]).save("still.keras")
    if arguments[0] == "frames.keras":
        keras.Sequential([keras.Input((None, *SIZE, 2)), spikes]).save("frames.keras")
    assert main(["serve", "--frame-us", str(WINDOW), *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("keras-snn: ") and captured.err.count("\n") == 1
    assert re.search(message, captured.err)
