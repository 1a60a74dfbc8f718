__version__ = "0.1.0"

from .engine.startup import prepare

prepare()
