"""Timing in processes that stay alive: one JSON request per line in, one JSON answer per line out.

Only the standard library: the interpreters at the two ends share nothing else.
"""

import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time


class Worker:
    """A script of this folder in a separate interpreter."""

    def __init__(self, python, script, **environment):
        self.process = subprocess.Popen(
            [python, pathlib.Path(__file__).with_name(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
            start_new_session=True,  # Ctrl-C is for the parent
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def run_case(self, case, **options):
        """Return the result of a case: milliseconds, or a dict.

        Raises:
            RuntimeError: The case failed, or the process ended.
        """
        try:
            self.process.stdin.write(json.dumps({"case": case, **options}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"the process ended with code {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]


def serve(timed, untimed):
    """Answer requests until the input ends.

    Args:
        timed: Dict from case name to a function ``(**options)`` that returns the function to time, warm. The function
            is made once for each distinct request, and timed at each repetition of the request.
        untimed: Dict from case name to a function ``(**options)`` that returns the answer.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries goes to stderr
    functions = {}
    for line in sys.stdin:
        request = json.loads(line)
        case = request.pop("case")
        try:
            if case in untimed:
                answer = {"value": untimed[case](**request)}
            else:
                if line not in functions:
                    functions[line] = timed[case](**request)
                answer = {"value": measure(functions[line])}
        except Exception as error:
            answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:120]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def measure(function, seconds=0.3, most=20):
    """Return the median time of a call in milliseconds, over the calls within ``seconds``, at most ``most``."""
    times = []
    while not times or (sum(times) < seconds and len(times) < most):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def peak_memory():
    """Return the maximum resident size of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
