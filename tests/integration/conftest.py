"""Fixtures of several files: two authorities, and the certificate of a portal."""

from __future__ import annotations

import pytest

from tests.services.tls import Authority, KeyPair


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "other-ca")


@pytest.fixture(scope="module")
def portal(authority: Authority) -> KeyPair:
    return authority.client("portal-test")
