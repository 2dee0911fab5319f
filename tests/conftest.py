"""For all tests: generated examples are judged by what comes out, never by how long it took on a busy machine."""

from hypothesis import HealthCheck, settings

settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")
