"""Adversarial attacks on Keras classifiers, spiking or not, and their accuracy under attack."""

from keras_snn.robustness.attacks import GradientMaskingWarning, bim, fgsm, mim, pgd, sign_noise
from keras_snn.robustness.evaluate import ATTACKS, evaluate
from keras_snn.robustness.oscillation import fit_alternative, swap_neurons
from keras_snn.robustness.report import Accuracy, AccuracyDifference, RobustnessComparison, RobustnessReport
from keras_snn.robustness.toolbox import as_art

__all__ = [
    "ATTACKS",
    "Accuracy",
    "AccuracyDifference",
    "GradientMaskingWarning",
    "RobustnessComparison",
    "RobustnessReport",
    "as_art",
    "bim",
    "evaluate",
    "fgsm",
    "fit_alternative",
    "mim",
    "pgd",
    "sign_noise",
    "swap_neurons",
]
