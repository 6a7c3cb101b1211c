"""What can go wrong, in words."""


class DetectorError(Exception):
    """Anything that this package can explain."""


class FileError(DetectorError):
    """A file is missing, damaged, altered, or not one that is run here."""


class InputError(DetectorError):
    """What is to be scored does not fit the detector, or an option is none that is allowed."""


class ScoreError(DetectorError):
    """A score is not finite, so that nothing can be said of its sample."""


class SelfTestError(DetectorError):
    """This device computes other scores than those that stand in the file."""
