__version__ = "0.1.0"

import os
import sys

# oneDNN's convolutions were faster on every x86 processor tried; TensorFlow turns them on for some only, when it is imported
if "tensorflow" not in sys.modules:
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
