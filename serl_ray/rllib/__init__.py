"""Training on RLlib's classic stack. Nothing outside this package touches RLlib."""

from serl_ray.cluster.ray_private import warn_if_untested
from serl_ray.rllib.algorithm import SERL
from serl_ray.rllib.config import SERLConfig
from serl_ray.rllib.offline import OfflineConfig, OfflineSERL

__all__ = ["SERL", "OfflineConfig", "OfflineSERL", "SERLConfig"]

warn_if_untested()
