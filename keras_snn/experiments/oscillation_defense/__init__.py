"""Oscillating membranes as a defense against adversarial examples: five scenarios, and the controls that show why.

Networks, scenarios and published figures are from C. Jiang's PhD thesis (University of Canterbury 2022, chapter 3;
Jiang and Zhang 2022, arXiv:2211.02223). The effect is obfuscated gradients (Athalye et al. 2018, ICML,
arXiv:1802.00420). The controls are added here: expectation over noise, a smooth backward pass, several surrogates, the
Square attack, random signs, and networks with adversarial training.
"""

from keras_snn.experiments.oscillation_defense.experiment import EXPERIMENT, PRESETS
from keras_snn.experiments.oscillation_defense.published import PUBLISHED
from keras_snn.experiments.oscillation_defense.results import OBFUSCATED, table

__all__ = ["EXPERIMENT", "OBFUSCATED", "PRESETS", "PUBLISHED", "table"]
