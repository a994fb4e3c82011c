import keras
import numpy as np
import pytest
from reference import event_files

import keras_snn
from keras_snn import data

SIZE = (6, 8)


def recording(n, span=1000, seed=0):
    events = event_files.random_events(n, span, seed=seed)
    events["x"] %= SIZE[1]
    events["y"] %= SIZE[0]
    return events


@pytest.fixture
def folder(tmp_path):
    """A folder of two classes with three recordings of 400, 700 and 1000 us each."""
    for label, name in enumerate(("clap", "wave")):
        for number, span in enumerate((400, 700, 1000)):
            data.write_events(tmp_path / name / f"{number}.npz", recording(50, span, seed=10 * label + number))
    (tmp_path / "clap" / ".DS_Store").write_bytes(b"\x00")
    return tmp_path


def test_find_recordings(folder):
    paths, labels, class_names = data.find_recordings(folder)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert class_names == ["clap", "wave"]
    assert [path[-10:] for path in paths[::3]] == ["clap/0.npz", "wave/0.npz"]
    paths, labels, class_names = data.find_recordings(folder / "clap")
    assert (len(paths), labels, class_names) == (3, None, [])


def test_a_folder_with_a_stray_file(folder):
    (folder / "clap" / "notes.txt").write_text("first take")
    with pytest.raises(ValueError, match=r"notes\.txt' must be a recording of events; its content has no known format"):
        data.find_recordings(folder)
    (folder / "clap" / "notes.txt").rename(folder / "notes.txt")
    with pytest.raises(ValueError, match=r"or only recordings; got both: 'notes\.txt'\. Move the file"):
        data.find_recordings(folder)
    (folder / "notes.txt").unlink()
    (folder / "clap" / "more").mkdir()
    with pytest.raises(ValueError, match="must have only recordings; got the folder 'more'"):
        data.find_recordings(folder)
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="must have recordings; got none"):
        data.find_recordings(folder / "empty")


def test_batches_of_equal_length(folder):
    paths, labels, _ = data.find_recordings(folder)
    batches = data.EventFrames(paths, labels, size=SIZE, n_frames=4, start=0, stop=1000, batch_size=4)
    assert len(batches) == 2
    (first, first_labels), (second, second_labels) = batches[0], batches[1]
    expected = data.event_frames([data.read_events(p) for p in paths], 4, SIZE, split_by="time", start=0, stop=1000)
    np.testing.assert_array_equal(np.concatenate([first, second]), expected)
    np.testing.assert_array_equal(np.concatenate([first_labels, second_labels]), labels)


def test_recordings_of_other_lengths_are_filled_up(folder):
    paths, labels, _ = data.find_recordings(folder)
    batches = data.EventFrames(paths, labels, size=SIZE, window=100, start=0, batch_size=3)
    x, _ = batches[0]
    assert x["frames"].shape == (3, 10, *SIZE, 2)
    for row, (path, n_frames) in enumerate(zip(paths, (4, 7, 10), strict=False)):
        assert x["mask"][row].tolist() == [True] * n_frames + [False] * (10 - n_frames)
        frames = data.to_frames(data.read_events(path), SIZE, window=100, start=0)
        np.testing.assert_array_equal(x["frames"][row, :n_frames], frames)
        assert not x["frames"][row, n_frames:].any()


def test_order_and_transform():
    recordings = [recording(n, seed=n) for n in (1, 2, 3, 4, 5)]
    batches = data.EventFrames(recordings, size=SIZE, n_frames=1, batch_size=5, shuffle=True, seed=3)

    def order():
        return batches[0][0].sum((1, 2, 3, 4)).tolist()

    first = order()
    assert sorted(first) == [1, 2, 3, 4, 5]
    assert order() == first
    batches.on_epoch_end()
    assert sorted(order()) == [1, 2, 3, 4, 5]
    assert order() != first
    halves = data.EventFrames(recordings, size=(3, 4), n_frames=1, transform=lambda e: data.downsample(e, 2))
    assert halves[0][0].shape == (5, 1, 3, 4, 2)


@pytest.mark.parametrize("variable", [False, True])
def test_a_model_trains_with_workers(folder, variable):
    paths, labels, _ = data.find_recordings(folder)
    options = {"window": 100} if variable else {"n_frames": 4}
    batches = data.EventFrames(paths, labels, size=SIZE, batch_size=4, shuffle=True, workers=2, **options)
    frames = keras.Input((None, *SIZE, 2), name="frames")
    mask = keras.Input((None,), dtype="bool", name="mask")
    call = {"mask": mask} if variable else {}
    spikes = keras_snn.LIF()(keras_snn.TimeFold(keras.layers.Flatten())(frames), **call)
    outputs = keras.layers.Dense(2)(keras_snn.layers.TemporalAveragePooling()(spikes, **call))
    model = keras.Model({"frames": frames, "mask": mask} if variable else frames, outputs)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(batches, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert model.predict(batches, verbose=0).shape == (6, 2)


def test_a_broken_recording_is_named(folder):
    (folder / "wave" / "1.npz").write_bytes((folder / "wave" / "1.npz").read_bytes()[:-30])
    paths, labels, _ = data.find_recordings(folder)
    batches = data.EventFrames(paths, labels, size=SIZE, n_frames=2, batch_size=6)
    with pytest.raises(ValueError, match=r"wave/1\.npz' must be a file of `write_events`, and complete"):
        batches[0]
    outside = data.EventFrames(paths[:1], size=(2, 2), n_frames=2)
    with pytest.raises(ValueError, match=r"clap/0\.npz' cannot be counted in frames: \"x\" of"):
        outside[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recordings": []}, "`recordings` must have at least one recording; got none"),
        ({"labels": [1]}, "`labels` must have a label for each of the 2 recordings; got 1"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1; got 0"),
        ({"n_frames": None}, "Give one of `n_frames`, `window` and `count`"),
    ],
)
def test_invalid_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        data.EventFrames(**({"recordings": [recording(3)] * 2, "size": SIZE, "n_frames": 2} | options))


@pytest.mark.tensorflow("a tf.data pipeline")
@pytest.mark.parametrize("options", [{"n_frames": 4}, {"window": 100}], ids=str)
def test_tf_data(folder, options):
    paths, labels, _ = data.find_recordings(folder)
    batches = data.EventFrames(paths, labels, size=SIZE, batch_size=4, workers=2, **options)
    pipeline = batches.to_tf_data()
    specification = pipeline.element_spec[0]
    shape = specification["frames"].shape if "window" in options else specification.shape
    assert shape.as_list() == [None, None if "window" in options else 4, *SIZE, 2]
    for number, batch in enumerate(pipeline):
        for ours, theirs in zip(keras.tree.flatten(batches[number]), keras.tree.flatten(batch), strict=True):
            np.testing.assert_array_equal(ours, theirs.numpy())
    assert number == 1
