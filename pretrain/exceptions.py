"""Every exception and warning of the toolkit: one hierarchy, each also the builtin that a user would catch."""


class PretrainError(Exception):
    """Base class of every error that the toolkit raises on purpose."""


class SettingsError(PretrainError, ValueError):
    """A setting, parameter or option has an illegal value or an unknown name."""


class DataError(PretrainError, ValueError):
    """The data cannot be used as they are: missing, malformed, out of range or mismatched."""


class DivergenceError(PretrainError, ArithmeticError):
    """Training produced a loss or a weight that is not finite."""


class CheckpointError(PretrainError, ValueError):
    """A file is not a checkpoint that can be read, or could not be written."""


class FormatVersionError(CheckpointError):
    """A checkpoint was written in a version of the format that this code does not read."""


class DataRangeWarning(UserWarning):
    """The data are outside the range that the visible units model; training goes on."""
