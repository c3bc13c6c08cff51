"""evalkit: the five suites of the Hermes model cards, faithfully, fast, and with error bars."""

import os

# torch imports every installed device plug-in by itself, and `import torch` fails where torch_npu is installed without
# CANN, even for somebody who asked for the CPU. The adapter imports torch_npu where it is wanted, and can then explain.
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")

__version__ = "0.1.0"
