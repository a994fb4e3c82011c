"""The published test accuracies by number of excitatory neurons: Diehl and Cook 2015, Front. Comput. Neurosci. 9:99.

After 3 passes over the 60,000 training images with 100 neurons, and 5 with 400.
"""

PUBLISHED = {100: 0.829, 400: 0.870, 1600: 0.919, 6400: 0.950}
PASSES = {100: 3, 400: 5}
