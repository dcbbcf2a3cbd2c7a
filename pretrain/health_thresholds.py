"""From where on a figure of a layer is a finding: rules of thumb, each with its reason.

They are set so that stacks trained with the defaults on the digits have no "problem".
"""

# Shares of the hidden units. Some idle units are the price of random initial weights; a quarter is capacity lost.
FEW_UNITS, MANY_UNITS = 0.05, 0.25
# Share of code values within 1 % of an end of their range: there the slope of a sigmoid is below 4 % of its largest,
# and fine-tuning hardly moves the weights below. Layers trained well have a third to two thirds of them there.
STIFF_CODES = 0.9
# Squared error of the reconstruction by that of predicting the mean of the input.
NEAR_MEAN, AS_MEAN = 0.7, 0.9
# Standard deviation of the input a feature below which there is nothing to learn: units see values of about 1.
FLAT_INPUT = 1e-3
# Standard deviation of the input under Gaussian units by theirs, or the other way round: at 2 the noise is a quarter
# of the variance, or four times.
UNSCALED = 2.0
# Root mean square weight: one input of 1 through it moves a sigmoid unit from 0.5 to 0.99995.
LARGE_WEIGHT = 10.0
# Root mean square of an unbounded code by that of the input; a layer that keeps the scale has about 1.
LARGE_CODE = 100.0
# Share of the features whose learned variance stands at a limit: none does unless it would go on beyond.
FEW_VARIANCES = 0.01
# Rise of the loss above its lowest epoch by that lowest value: noise from epoch to epoch is some per cent.
LOSS_RISE = 0.2
# Free-energy gap by the spread (standard deviation) of the free energy over training rows, and by its own standard
# error. Rows from one distribution differ by less than 4 standard errors.
GAP, LARGE_GAP, GAP_ERRORS = 0.2, 0.5, 4.0
# Error of a linear probe. Rows are paired, so the standard error is that of their difference; `LOST_POINTS` keeps a
# tiny but certain loss from being called a problem, and below `PERFECT` % there is nothing that a layer could add.
LOST_POINTS, LOST_ERRORS, GAIN_ERRORS, PERFECT = 2.0, 3.0, 2.0, 1.0
# Distance from the initial weights by their norm. Where these are not known: largest singular value by that of pure
# noise of the same size, and hidden biases by weights. Narrow trained layers may have a spectrum like noise, but then
# their biases have left zero: to a quarter of the weights and more.
LITTLE_CHANGE, NOISE_EDGE, SMALL_BIAS = 0.1, 1.1, 0.1
# The same distance below which weights are mostly what they began as, and the root mean square from which that is the
# cause of what is large: five times the default --weight-scale.
INITIAL, LARGE_START = 0.5, 0.5
