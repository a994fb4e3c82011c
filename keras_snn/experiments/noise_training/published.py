"""The published figures: test accuracies of table 4.2, and training times to a fixed accuracy of figure 4.4.

Table 4.2 does not name the network of its CIFAR-10 figures. Figures 4.2, 4.3, 4.5, 4.6 and 4.7 have no printed numbers.
They show: accuracy rises from 1 to 5 to 10 steps on all sets. With alpha = 2 it hardly rises. Larger values of alpha
end close together. Uniform noise is below Gaussian noise at one step, and about equal at ten. In figure 4.7 a membrane
without input fluctuates below the threshold; with input it accumulates and fires.
"""

#: Accuracy by the number of steps.
PUBLISHED = {
    "mnist": {5: 0.9961, 10: 0.9964},
    "fashion_mnist": {5: 0.9389, 10: 0.9407},
    "cifar10_vgg16": {5: 0.9182, 10: 0.9207},
    "cifar10_resnet18": {5: 0.9182, 10: 0.9207},
}

#: An accuracy, the seconds of direct training at ten steps to reach it, and those of training with noise.
SECONDS = {
    "fashion_mnist": (0.92, 528, 135),
    "cifar10_vgg16": (0.88, 9900, 3132),
    "cifar10_resnet18": (0.90, 19998, 7290),
}
