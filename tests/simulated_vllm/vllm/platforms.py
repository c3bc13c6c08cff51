"""Which device this vLLM is made for."""

import os
from types import SimpleNamespace

current_platform = SimpleNamespace(device_type=os.environ.get("SIMULATED_VLLM_DEVICE", "cpu"))
