"""The published test accuracies, in % in tables 2.2 to 2.5 and 3.3.

The thesis does not state whether they are from the best or the last epoch, nor the number of trainings.
"""

PUBLISHED = {
    "mnist": {"lif": 0.9961, "klif": 0.9961, "klif*": 0.9960},
    "fashion_mnist": {"lif": 0.9428, "klif": 0.9435, "klif*": 0.9431},
    "cifar10": {"lif": 0.9102, "klif": 0.9252, "klif*": 0.9193},
    "nmnist": {"lif": 0.9948, "klif": 0.9957, "klif*": 0.9927},
    "cifar10_vgg16": {
        "lif": 0.7845,
        "only relu": 0.8104,
        "only k": 0.8296,
        "klif": 0.8553,
        "klif, celu": 0.8455,
        "klif, leaky relu": 0.8590,
        "klif, three branches": 0.8664,
        "lif, chapter 3": 0.886,
    },
    "cifar10_resnet18": {
        "lif": 0.8524,
        "only relu": 0.8666,
        "only k": 0.8720,
        "klif": 0.8912,
        "klif, celu": 0.8870,
        "klif, leaky relu": 0.8911,
        "klif, three branches": 0.8988,
        "lif, chapter 3": 0.922,
    },
}
