"""The published figures: accuracies of 24 test samples (chapter 6), with a sensor and plates that are not public.

All of them belong to another data set than the ones that this experiment reads. "PVDF1" lies across the direction of
sliding, "PVDF2" along it. The publication prints 79.3 % for both films, which is no multiple of 1 / 24 (19 / 24 is
79.17 %), and does not say how they were fused.
"""

#: The label of the published figures in every table.
DATA_SET = "another data set: PVDF films on nickel plates of eight roughness levels, not public"

#: Surfaces 1 to 8: the arithmetic mean roughness Ra in micrometers.
ROUGHNESS = (50, 25, 12.5, 6.3, 3.2, 1.6, 0.8, 0.4)

#: Accuracy of 400 neurons after 15 passes over the augmented samples. PVDF1 is also the highest value of all passes.
PUBLISHED = {"PVDF1": 20 / 24, "PVDF2": 13 / 24, "PVDF1+2": 0.793}

#: The highest accuracy on the test samples by the number of excitatory neurons, PVDF1.
BY_NEURONS = {100: 16 / 24, 400: 20 / 24, 1600: 18 / 24}

#: Table 6.1, passes 11 to 15 together: 15 presentations of each surface (rows), predicted surfaces in the columns.
CONFUSION = (
    (15, 0, 0, 0, 0, 0, 0, 0),
    (0, 15, 0, 0, 0, 0, 0, 0),
    (0, 0, 15, 0, 0, 0, 0, 0),
    (0, 0, 0, 1, 14, 0, 0, 0),
    (0, 0, 0, 1, 10, 4, 0, 0),
    (0, 0, 0, 0, 0, 15, 0, 0),
    (0, 0, 0, 0, 0, 0, 11, 4),
    (1, 0, 0, 0, 0, 0, 6, 8),
)

#: Table 6.2 and the introduction: features, classifier, films, accuracy. The order of the rows is not certain. SD:
#: standard deviation; SF: statistical features; SRa: signal roughness parameter; PSM: power spectral magnitudes.
OTHER_METHODS = (
    ("SD", "kNN, k = 9", "PVDF1", 0.826),
    ("SF", "SVM-RBF", "PVDF1", 0.712),
    ("SRa", "SVM-RBF", "PVDF1+2", 0.788),
    ("PSM", "kNN, k = 9", "PVDF1", 0.825),
    ("SD+PSM", "kNN, k = 9", "PVDF1", 0.825),
    ("SF+PSM", "SVM-RBF", "PVDF1", 0.727),
    ("SRa+PSM", "kNN, k = 5", "PVDF1", 0.778),
    ("SD+PSM", "kNN, k = 7", "PVDF2", 0.579),
    ("discrete wavelet", "ELM", "PVDF1+2", 0.979),
    ("Izhikevich neurons", "kNN", "", 0.776),
)

#: Statements without numbers.
CLAIMS = (
    "Accuracy is steady after one pass, and then rises slowly.",
    "PVDF1 is above PVDF2 after every pass.",
    "1600 neurons converge more slowly than 100 and 400.",
    "Without augmentation the accuracy is clearly lower.",
)

#: Accuracy on MNIST by the number of excitatory neurons, from Diehl and Cook 2015, Front. Comput. Neurosci. 9, 99.
MNIST = {100: 0.829, 400: 0.870, 1600: 0.919, 6400: 0.950}
