"""A real Apache with mod_dav on loopback: WebDAV over TLS, with a login, and with a client's certificate.

Its files lie in `files`. Run by root it serves as nobody: what tests put there must be that user's (`owner`).
"""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.services import accepts, free_port, need, wait_until
from tests.services.tls import Authority

USER, PASSWORD = "drehscheibe", "geheim: ü"
NOBODY = 65534
MODULES = ("mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic", "ssl", "dav",
           "dav_fs")
CONFIG = """
ServerRoot {root}
PidFile {root}/httpd.pid
ErrorLog {root}/error.log
LogLevel warn
DefaultRuntimeDir {root}
Mutex file:{root} default
{modules}
{user}
Listen 127.0.0.1:{port}
ServerName {name}
StartServers 1
ThreadsPerChild 16
MaxRequestWorkers 16
ServerLimit 1
MaxKeepAliveRequests 0
KeepAliveTimeout 60
DavLockDB {root}/lock/db
DocumentRoot {files}
{tls}
<Directory />
    AllowOverride None
</Directory>
<Directory {files}>
    Dav On
    AuthType Basic
    AuthName drop
    AuthBasicProvider file
    AuthUserFile {root}/users
    {require}
    {more}
</Directory>
"""
TLS = """
SSLEngine on
SSLProtocol TLSv1.2 TLSv1.3
SSLCertificateFile {certificate}
SSLCertificateKeyFile {key}
"""


class Apache:
    """`require` says who may do what, `more` goes into the folder's section, `outside` behind everything.

    `name` is how the server calls itself; `client_ca` makes it ask for a certificate.
    """

    def __init__(self, tls: Authority | None = None, *, client_ca: Authority | None = None,
                 name: str = "localhost", require: str = "Require valid-user", more: str = "",
                 outside: str = "") -> None:
        self.binary = need("apache2", "apache2")
        self._folder = tempfile.TemporaryDirectory(prefix="apache-")  # pytest's are for their owner only
        self.root = root = Path(self._folder.name)
        root.chmod(0o755)
        self.port = free_port()
        self.owner = NOBODY if os.geteuid() == 0 else None
        self.files, lock = root / "files", root / "lock"
        for folder in (self.files, lock):
            folder.mkdir(exist_ok=True)
            if self.owner is not None:
                os.chown(folder, self.owner, -1)
        digest = base64.b64encode(hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()).decode()
        (root / "users").write_text(f"{USER}:{{SHA}}{digest}\n")
        config = self._config(tls, client_ca, name=name, require=require, more=more)
        (root / "httpd.conf").write_text(config + outside)
        self.start()

    def _config(self, tls: Authority | None, client_ca: Authority | None, **settings: str) -> str:
        section = ""
        if tls is not None:
            pair = tls.server()
            section = TLS.format(certificate=pair.certificate, key=pair.key)
        if client_ca is not None:
            section += f"SSLCACertificateFile {client_ca.file}\nSSLVerifyClient require\n"
        modules = "\n".join(f"LoadModule {each}_module /usr/lib/apache2/modules/mod_{each}.so"
                            for each in MODULES)
        user = "User nobody\nGroup nogroup" if self.owner is not None else ""
        return CONFIG.format(root=self.root, modules=modules, user=user, port=self.port, files=self.files,
                             tls=section, **settings)

    def start(self) -> None:
        """Start the server (again, on the same port)."""
        with (self.root / "start.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binary, "-f", str(self.root / "httpd.conf"), "-D", "FOREGROUND"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: accepts(self.port) or self._process.poll() is not None, "Apache listens")
        if self._process.poll() is not None:
            raise RuntimeError((self.root / "start.log").read_text() + self.log())

    def kill(self) -> None:
        """Kill the server with its children, as a power failure would."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        wait_until(lambda: not accepts(self.port), "the last child has let go of the port")

    def log(self) -> str:
        """What the server complained about."""
        log = self.root / "error.log"
        return log.read_text() if log.exists() else ""

    def close(self) -> None:
        """Stop it, and remove its files."""
        self.kill()
        self._folder.cleanup()
