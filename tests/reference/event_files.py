"""Encoders and decoders of camera files in plain Python and NumPy, after the descriptions of the formats."""

import numpy as np

SIZE = (720, 1280)
HEADER = "% evt {0}.0\n% format EVT{0};height=720;width=1280\n% end\n"

#: Words of vendors, triggers and padding that decoders must pass over: types 0x7, 0x9, 0xA, 0xE and 0xF.
EXTRA = (0x7, 0x9, 0xA, 0xE, 0xF)


def random_events(n, span, seed=0, start=0):
    rng = np.random.default_rng(seed)
    events = np.empty(n, [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")])
    events["x"], events["y"], events["p"] = rng.integers(1280, size=n), rng.integers(720, size=n), rng.random(n) < 0.5
    events["t"] = start + np.sort(rng.integers(0, span, size=n))
    return events


def evt3(events, extra=()):
    """Return the bytes of an EVT 3.0 file. A word with the upper half of the time is sent every 256 us."""
    words, time, y = [], int(events["t"][0]) // 256 * 256, None
    for event in events:
        while time <= event["t"]:
            words += [0x8000 | (time >> 12) % 4096, *(kind << 12 | 5 for kind in extra)]
            time += 256
        words.append(0x6000 | int(event["t"]) % 4096)
        if event["y"] != y:
            y = int(event["y"])
            words.append(y)
        words.append(0x2000 | int(event["p"]) << 11 | int(event["x"]))
    return HEADER.format(3).encode() + np.array(words, "<u2").tobytes()


def decode_evt3(content):
    """Decode an EVT 3.0 file word by word."""
    words = np.frombuffer(content.split(b"% end\n", 1)[1], "<u2").tolist()
    rows, high, low, y, base, polarity, wraps = [], None, 0, 0, 0, 0, 0
    for word in words:
        kind, value = word >> 12, word & 0xFFF
        if kind == 0x8:
            wraps += high is not None and high - value > 2048
            high, low = value, 0
        elif kind == 0x6:
            low = value
        elif kind == 0x0:
            y = value & 0x7FF
        elif kind == 0x2:
            rows.append((value & 0x7FF, y, wraps << 24 | (high or 0) << 12 | low, value >> 11))
        elif kind == 0x3:
            base, polarity = value & 0x7FF, value >> 11
        elif kind in (0x4, 0x5):
            n = 12 if kind == 0x4 else 8
            time = wraps << 24 | (high or 0) << 12 | low
            rows += [(base + k, y, time, polarity) for k in range(n) if value >> k & 1]
            base += n
    return np.array(rows, [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")])


def evt2(events, extra=()):
    """Return the bytes of an EVT 2.0 file."""
    words, high = [], None
    for event in events:
        t = int(event["t"])
        if t >> 6 != high:
            high = t >> 6
            words += [0x8 << 28 | high % 2**28, *(kind << 28 | 5 for kind in extra)]
        words.append(int(event["p"]) << 28 | (t & 63) << 22 | int(event["x"]) << 11 | int(event["y"]))
    return HEADER.format(2).encode() + np.array(words, "<u4").tobytes()


def decode_evt2(content):
    """Decode an EVT 2.0 file, all words at once."""
    words = np.frombuffer(content.split(b"% end\n", 1)[1], "<u4").astype("int64")
    kind = words >> 28
    high = np.where(kind == 8, words % 2**28, -1)
    last = np.maximum.accumulate(np.where(kind == 8, np.arange(len(words)), -1))
    wraps = np.cumsum(np.diff(high[last], prepend=high[last[0]]) < -(2**27))
    event = kind < 2
    t = (wraps << 34) + (high[last] << 6) + (words >> 22 & 63)
    columns = (words >> 11 & 0x7FF, words & 0x7FF, t, kind)
    fields = [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")]
    return np.array([tuple(row) for row in np.stack(columns, 1)[event]], fields)


def dat(events):
    """Return the bytes of a DAT file, version 2. Times have 32 bits."""
    words = np.empty((len(events), 2), "<u4")
    words[:, 0] = events["t"] % 2**32
    words[:, 1] = events["p"].astype("u4") << 28 | events["y"].astype("u4") << 14 | events["x"].astype("u4")
    header = b"% Data file containing CD events.\n% Version 2\n% Width 1280\n% Height 720\n"
    return header + bytes([12, 8]) + words.tobytes()


def decode_dat(content):
    """Decode a DAT file. Each decrease of the 32-bit time is a wrap."""
    start = content.index(b"% Height 720\n") + len(b"% Height 720\n") + 2
    words = np.frombuffer(content[start:], "<u4").astype("int64").reshape(-1, 2)
    t = words[:, 0] + 2**32 * np.cumsum(np.diff(words[:, 0], prepend=0) < 0)
    fields = [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")]
    rows = zip(words[:, 1] & 0x3FFF, words[:, 1] >> 14 & 0x3FFF, t, words[:, 1] >> 28, strict=True)
    return np.array(list(rows), fields)


def five_bytes(events):
    """Return the bytes of an N-MNIST file: x, y, and polarity and time in 23 bits."""
    rows = np.empty((len(events), 5), "u1")
    rows[:, 0], rows[:, 1] = events["x"], events["y"]
    rows[:, 2] = events["p"].astype("u1") << 7 | (events["t"] >> 16).astype("u1")
    rows[:, 3], rows[:, 4] = events["t"] >> 8 & 255, events["t"] & 255
    return rows.tobytes()
