"""The published figures: accuracies in % at epsilon 8/255, tables 3.1 to 3.10 and the running text.

Accuracies under attack are those of 1000 random images. PGD-20 was run once (table 3.8). Table 3.10 prints as clean
accuracy that of the alternative network, although scenario 4 runs the oscillation network. The clean accuracy of the
LIF benchmark on CIFAR-100 is 65.7 in table 3.3 and 67.04 elsewhere. Table 3.9 is damaged for both ResNets: the other
readings are c = 0.1010 for CIFAR-10, and c = -0.1304, d = -0.1087 for CIFAR-100.
"""

#: The columns of ``PUBLISHED``.
COLUMNS = ("clean", "FGSM", "PGD-5", "BIM-5", "MIM-5", "PGD-20")

#: Accuracies in % in the order of ``COLUMNS``, by network and row. Missing columns were not published.
PUBLISHED: dict[str, dict[str, tuple[float, ...]]] = {
    "VGG-16, CIFAR-10": {
        "LIF benchmark": (88.6, 14.2, 3, 1.9, 2.8),
        "scenario 1": (88.59, 30.9, 14.7, 14.3, 14.9),
        "scenario 2": (87.38, 52.2, 28.1, 31.6, 30.8),
        "scenario 3": (88.59, 40.1, 40.8, 36.2, 26.7),
        "scenario 4": (88.59, 56.5, 45, 41.4, 35.4),
        "scenario 5": (87.38, 28.4, 12.1, 12.5, 13),
        "scenario 4, F2": (86.12, 68.9, 68.8, 69.3, 60.4),
        "scenario 4, F3": (87.7, 50.7, 34.6, 32.9, 31.4),
        "scenario 4, F4": (86.64, 36.8, 22.7, 15, 20.6),
    },
    "ResNet-18, CIFAR-10": {
        "LIF benchmark": (92.2, 35.5, 5.8, 5.9, 8.8),
        "scenario 1": (92.59, 44.9, 21.7, 21.4, 22.3),
        "scenario 2": (92.35, 66.9, 57.1, 59, 53.4),
        "scenario 3": (92.59, 71.9, 79.3, 71.8, 67.6),
        "scenario 4": (92.59, 69.5, 66.8, 68.5, 59, 71.1),
        "scenario 5": (92.35, 42.1, 19.2, 19.4, 20.2),
    },
    "ResNet-18, CIFAR-100": {
        "LIF benchmark": (67.04, 12.6, 1.3, 1.4, 1.6),
        "scenario 1": (67.58, 17.2, 4.3, 4.5, 3.1),
        "scenario 2": (67.05, 45.1, 39.3, 39.8, 33.2),
        "scenario 3": (67.58, 47.7, 56, 56.7, 49.4),
        "scenario 4": (67.58, 43.7, 48.4, 51.4, 40.8),
        "scenario 5": (67.05, 13.8, 4, 2.6, 2.4),
    },
}

#: The fitted c and d of table 3.9.
CONSTANTS = {
    "VGG-16, CIFAR-10": (-0.1441, -0.1762),
    "ResNet-18, CIFAR-10": (-0.1019, -0.2221),
    "ResNet-18, CIFAR-100": (-0.1564, -0.1687),
}

#: Table 3.8: clean, FGSM and PGD-20 of other defenses, ResNet-18 on CIFAR-10, attacked with their own gradients.
OTHER_DEFENSES = {
    "MART": (83.07, 65.65, 55.57),
    "TRADES": (82.90, 62.82, 50.25),
    "Dynamics": (83.33, 62.47, 49.40),
    "MMA": (84.76, 62.08, 48.33),
    "Standard": (84.44, 61.89, 47.55),
}

#: The shapes of F(h) of equations 3.20 to 3.23. The scenarios take F1.
FUNCTIONS = ("f1", "f2", "f3", "f4")

#: Source, whose gradients the attacker has, and target of each scenario. Scenarios with one source follow each other:
#: its adversarial examples and compiled gradients are used again.
SCENARIOS = {
    "scenario 1": ("oscillation", "oscillation"),
    "scenario 5": ("oscillation", "f1"),
    "scenario 2": ("f1", "f1"),
    "scenario 4": ("f1", "oscillation"),
    "scenario 3": ("LIF copy", "oscillation"),
    **{f"scenario 4, {function.upper()}": (function, "oscillation") for function in FUNCTIONS[1:]},
}

#: Source and target in words, in the order of the tables.
ROWS = {
    "LIF benchmark": "LIF on LIF",
    "scenario 1": "noise on noise",
    "scenario 2": "F1 on F1",
    "scenario 3": "LIF on noise",
    "scenario 4": "F1 on noise",
    "scenario 5": "noise on F1",
    "scenario 4, F2": "F2 on noise",
    "scenario 4, F3": "F3 on noise",
    "scenario 4, F4": "F4 on noise",
    "ann, adversarial training": "ReLU on ReLU",
    "lif, adversarial training": "LIF on LIF",
}
