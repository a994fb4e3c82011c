"""The published test accuracies (tables 2.2 and 2.4): the best of 100 epochs (200 on CIFAR-10), one training each."""

PUBLISHED = {
    "mnist": {"lif": 0.9961, "klif": 0.9961, "klif*": 0.9960},
    "fashion_mnist": {"lif": 0.9428, "klif": 0.9435, "klif*": 0.9431},
    "cifar10": {"lif": 0.9102, "klif": 0.9252, "klif*": 0.9193},
    "nmnist": {"lif": 0.9948, "klif": 0.9957, "klif*": 0.9927},
}

#: Table 2.3, VGG-16 on CIFAR-10: the order of the four, which is what "only relu" and "only k" are there for.
VGG16 = {"lif": 0.7845, "only relu": 0.8104, "only k": 0.8296, "klif": 0.8553}
