"""The settings tree: read once, frozen, unknown keys refused. Each part of the server is handed its own branch.

A settings file holds everything. Its `policy` branch alone may change while the server runs; any other change
replaces every replica.
"""

from psychechat.config.auth import ApiKey, Auth
from psychechat.config.cors import Cors
from psychechat.config.errors import SettingsError, complaint
from psychechat.config.memory import MemoryKeys, MemorySettings
from psychechat.config.models import DEMO, DEMO_ENGLISH, GeneratorSettings, ModelSettings
from psychechat.config.replicas import Autoscaling, EngineAutoscaling, EngineReplicas, Replicas
from psychechat.config.roles import ROLES, Casting, Part, Role, Roles
from psychechat.config.settings import LOOPBACK, EscalationSettings, Settings

__all__ = [
    "DEMO",
    "DEMO_ENGLISH",
    "LOOPBACK",
    "ROLES",
    "ApiKey",
    "Auth",
    "Autoscaling",
    "Casting",
    "Cors",
    "EngineAutoscaling",
    "EngineReplicas",
    "EscalationSettings",
    "GeneratorSettings",
    "MemoryKeys",
    "MemorySettings",
    "ModelSettings",
    "Part",
    "Replicas",
    "Role",
    "Roles",
    "Settings",
    "SettingsError",
    "complaint",
]
