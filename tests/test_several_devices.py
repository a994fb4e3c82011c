"""Trainings on several devices: the scripts of docs/several_devices.rst, and ``keras-snn run --devices``."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_snn
from keras_snn import data
from keras_snn.experiments import registry
from keras_snn.experiments.several_devices import fit
from keras_snn.ops.backend import devices

ROOT = Path(__file__).parents[1]
BACKEND = keras.config.backend()
RUN = [sys.executable, "-m", "keras_snn", "run"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port"]


def scripts():
    """Return the scripts of the page by file name. The first line of a script is a comment with its command."""
    text = (ROOT / "docs" / "several_devices.rst").read_text(encoding="utf-8")
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?: {3}.*\n|\n)+)", text, re.M)
    code = [re.sub(r"^ {3}", "", block, flags=re.M).strip() + "\n" for block in blocks]
    return {re.search(r"\w+\.py", block)[0]: block for block in code}


SCRIPTS = scripts()


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return str(found.getsockname()[1])


def start(command, folder, **environment):
    paths = {
        "PYTHONPATH": os.pathsep.join([str(Path(keras_snn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    }
    variables = {**os.environ, **paths, **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=variables, **pipes)


def finish(*processes):
    """Return the outputs of the processes, all of which must succeed."""
    outputs = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [output for output, _ in outputs]


def write(name, folder):
    (folder / name).write_text(SCRIPTS[name], encoding="utf-8")
    return [sys.executable, name]


def two_hosts(command, folder):
    """Run a command in two processes of JAX; return their outputs."""
    common = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": f"localhost:{free_port()}", "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    return finish(*(start(command, folder, KERAS_DISTRIBUTION_PROCESS_ID=i, **common) for i in "01"))


def assert_small_difference(output, bound):
    """Check the last line of a script. The bounds are one to five units of the last place of weights below 1."""
    difference = float(re.search(r"largest difference: (\S+)", output)[1])
    assert difference <= bound, output


@pytest.mark.tensorflow("MirroredStrategy")
def test_mirrored(tmp_path):
    assert_small_difference(*finish(start(write("mirrored.py", tmp_path), tmp_path)), 6e-8)


@pytest.mark.jax("keras.distribution")
def test_data_parallel(tmp_path):
    assert_small_difference(*finish(start(write("data_parallel.py", tmp_path), tmp_path)), 9e-8)


@pytest.mark.jax("keras.distribution")
@pytest.mark.nightly("DataParallel is in the short run")
def test_model_parallel(tmp_path):
    assert_small_difference(*finish(start(write("model_parallel.py", tmp_path), tmp_path)), 9e-8)


@pytest.mark.jax("jax.distributed")
@pytest.mark.nightly("two processes")
def test_two_hosts(tmp_path):
    for output in two_hosts(write("hosts.py", tmp_path), tmp_path):
        assert_small_difference(output, 6e-8)


@pytest.mark.torch("DistributedDataParallel")
@pytest.mark.nightly("two processes; test_random.py has draws of two ranks")
def test_ddp(tmp_path):
    command = [*TORCHRUN, free_port(), *write("ddp.py", tmp_path)[1:]]
    assert_small_difference(*finish(start(command, tmp_path)), 3e-7)


@pytest.mark.nightly("three processes")
def test_a_killed_training_resumes_bit_for_bit(tmp_path):
    command = write("resume.py", tmp_path)
    killed = start([*command, "killed", "kill"], tmp_path)
    output, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert "weights" not in output
    outputs = finish(start([*command, "whole"], tmp_path), start([*command, "killed"], tmp_path))
    assert "Epoch 3/4" in outputs[1]
    assert "Epoch 2/4" not in outputs[1]
    whole, resumed = (output.splitlines()[-1] for output in outputs)
    assert whole == resumed
    assert whole.startswith("weights: ")


# keras-snn run --devices

#: The experiment of the tests: part of the networks of fashion-mnist, one epoch on 256 images.
EXPERIMENT = """
import sys
from keras_snn import experiments
from keras_snn.experiments.fashion_mnist import experiment
run, (train, test) = experiments.get("fashion-mnist"), experiment.load({"data": "sample"})
object.__setattr__(run, "load", lambda config: [(x[:256], y[:256]) for x, y in (train, test)])
for n in map(int, sys.argv[2:]):
    out = f"{sys.argv[1]}{n}"
    run.run(epochs=1, only=["filtered"], devices=n, out=out, verbose=False)
"""


def figures(path):
    (part,) = json.loads((path / "results.json").read_text())["parts"].values()
    return part


def assert_equal_figures(found, expected):
    # Sums over a batch are added in another order. One of 256 images is 0.004.
    assert found["loss"] == pytest.approx(expected["loss"], abs=1e-5)
    assert found["train_accuracy"] == pytest.approx(expected["train_accuracy"], abs=0.0041)
    for dt, row in expected["test"].items():
        assert found["test"][dt]["accuracy"] == pytest.approx(row["accuracy"], abs=0.0041)


@pytest.mark.skipif(BACKEND == "torch", reason="needs torchrun: nightly")
def test_figures_of_two_devices_equal_those_of_one(tmp_path):
    # Two devices first: the number of devices is fixed at the first operation.
    finish(start([sys.executable, "-c", EXPERIMENT, "run", "2", "1"], tmp_path))
    assert_equal_figures(figures(tmp_path / "run2"), figures(tmp_path / "run1"))
    config = json.loads((tmp_path / "run2" / "results.json").read_text())["config"]
    assert config["devices"] == 2
    keras.models.load_model(tmp_path / "run2" / "filtered.keras")


@pytest.mark.nightly("two processes")
@pytest.mark.skipif(BACKEND == "tensorflow", reason="MultiWorkerMirroredStrategy fails in Keras")
def test_figures_of_two_processes_equal_those_of_one(tmp_path):
    (tmp_path / "experiment.py").write_text(EXPERIMENT)
    finish(start([sys.executable, "experiment.py", "run", "1"], tmp_path))
    if BACKEND == "torch":
        finish(start([*TORCHRUN, free_port(), "experiment.py", "run", "2"], tmp_path))
    else:
        two_hosts([sys.executable, "experiment.py", "run", "2"], tmp_path)
    assert_equal_figures(figures(tmp_path / "run2"), figures(tmp_path / "run1"))


def error_of(arguments, folder, **environment):
    process = start([*RUN, *arguments, "--out", "new"], folder, **environment)
    _, errors = process.communicate()
    assert process.returncode == 1, errors
    assert not (folder / "new" / "results.json").exists()
    return errors.splitlines()[-1]


@pytest.mark.nightly("a process for each error")
def test_errors_of_the_command(tmp_path):
    command = ["fashion-mnist", "--devices"]
    if BACKEND == "torch":
        assert "torchrun --nproc_per_node 2 -m keras_snn run" in error_of([*command, "2"], tmp_path)
        return
    assert "`devices` must divide the batch size, 32" in error_of([*command, "5"], tmp_path)
    message = error_of([*command, "2"], tmp_path, WORLD_SIZE="2", RANK="0")
    assert ("MultiWorkerMirroredStrategy" if BACKEND == "tensorflow" else "torchrun") in message


@pytest.mark.jax("jax.distributed")
@pytest.mark.nightly("two processes")
def test_a_process_of_several_has_one_cpu(tmp_path):
    common = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": f"localhost:{free_port()}", "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    command = [*RUN, "clothing", "--devices", "4"]
    processes = [start(command, tmp_path, KERAS_DISTRIBUTION_PROCESS_ID=i, **common) for i in "01"]
    for process in processes:
        assert "must be the number of processes, 2, on CPUs; got 4" in process.communicate()[1]


def test_devices_must_be_chosen_before_the_first_operation_and_divide_the_batch():
    keras.ops.zeros(1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    x, y = np.zeros((6, 2)), np.zeros((6, 1))
    with pytest.raises(ValueError, match=r"must divide the batch size, 4, and the size of the last batch, 2; got 3"):
        fit(model, x, y, {"devices": 3, "batch_size": 4})
    with pytest.raises(ValueError, match="torchrun" if BACKEND == "torch" else "before the first operation"):
        fit(model, x, y, {"devices": 2, "batch_size": 2})


def test_launchers(monkeypatch):
    variables = [*devices._LAUNCHERS, "TPU_WORKER_HOSTNAMES"]
    for variable in variables:
        monkeypatch.delenv(variable, raising=False)
    assert devices.launcher() == (None, 1)
    for variable, value, expected in (
        ("WORLD_SIZE", "4", ("torchrun", 4)),
        ("SLURM_STEP_NUM_TASKS", "3", ("srun", 3)),
        ("JAX_NUM_PROCESSES", "2", ("jax.distributed", 2)),
        ("TPU_WORKER_HOSTNAMES", "a,b", ("a TPU pod", 2)),
        ("OMPI_COMM_WORLD_SIZE", "1", (None, 1)),
    ):
        with monkeypatch.context() as context:
            context.setenv(variable, value)
            assert devices.launcher() == expected


def test_experiments_with_other_trainings_refuse_several_devices():
    registry.check_devices("stdp-mnist", 1)
    registry.check_devices("clothing", 2)
    with pytest.raises(ValueError, match=r"`devices` must be 1 for 'stdp-mnist', .* got 2. .*'fashion-mnist'"):
        registry.check_devices("stdp-mnist", 2)


def test_the_notebook_has_the_scripts_of_the_page():
    notebook = json.loads((ROOT / "notebooks" / "11_several_devices.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"]]
    found = [re.match(r"%%writefile (\S+)\n(.*)", cell, re.S) for cell in cells]
    assert {match[1]: match[2].strip() + "\n" for match in found if match} == SCRIPTS


# bfloat16


@pytest.fixture
def float32_after():
    yield
    keras.config.set_dtype_policy("float32")


def test_bfloat16(float32_after):
    """Loss and accuracy after training with mixed_bfloat16, and of trained weights in bfloat16, are near float32."""
    (x, y), test = data.load("fashion_mnist_sample")
    figures, weights = {}, None
    for policy in ("float32", "mixed_bfloat16", "bfloat16"):
        keras.config.set_dtype_policy(policy)
        keras.utils.set_random_seed(0)
        hidden = [keras_snn.Repeat(5), keras_snn.LIF(), keras_snn.layers.TemporalAveragePooling()]
        parts = [keras.layers.Flatten(), keras.layers.Dense(64), *hidden, keras.layers.Dense(10)]
        model = keras.Sequential([keras.Input((28, 28)), *parts])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, metrics=["accuracy"])
        if policy == "bfloat16":  # Adam does not learn with bfloat16 weights
            model.set_weights(weights)
        else:
            model.fit(x[:3840], y[:3840], batch_size=64, verbose=0)
        weights = weights or model.get_weights()
        figures[policy] = model.evaluate(*test, batch_size=500, verbose=0)
    assert figures["float32"][1] > 0.6  # chance is 0.1
    for loss, accuracy in figures.values():
        assert loss == pytest.approx(figures["float32"][0], abs=0.005)
        assert accuracy == pytest.approx(figures["float32"][1], abs=0.015)
