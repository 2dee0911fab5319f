"""A real Postfix on a free port of loopback, with STARTTLS.

It has a configuration, a queue and a Maildir of its own.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.services import accepts, free_port, missing, need, wait_until

MAIN = """
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
multi_instance_enable = yes
multi_instance_name = postfix-{name}
maillog_file = {root}/mail.log
maillog_file_prefixes = /tmp, /var
myhostname = mail.musterstadt.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
message_size_limit = {max_bytes}
virtual_mailbox_limit = 0
mailbox_size_limit = 0
virtual_mailbox_domains = musterstadt.example
virtual_mailbox_base = {root}/mail
virtual_mailbox_maps = texthash:{root}/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_tls_cert_file = {root}/tls/cert.pem
smtpd_tls_key_file = {root}/tls/key.pem
smtpd_tls_security_level = encrypt
smtpd_tls_session_cache_database =
smtpd_peername_lookup = no
smtpd_recipient_restrictions = check_recipient_access texthash:{root}/refusals, permit_mynetworks, reject
smtpd_junk_command_limit = 1000
smtpd_client_connection_rate_limit = 0
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
showq     unix n - n - - showq
error     unix - - n - - error
retry     unix - - n - - error
virtual   unix - n n - - virtual
anvil     unix - - n - 1 anvil
scache    unix - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""
REFUSALS = """
voll@musterstadt.example 452 4.2.2 Mailbox of Erika Mustermann full
spaeter@musterstadt.example 450 4.7.1 try later
weg@musterstadt.example 550 5.1.1 no such user
"""


class Postfix:
    """The server. It takes mail for ``*@musterstadt.example`` into `maildir`. `REFUSALS` names three
    addresses that refuse."""

    def __init__(self, certificate: bytes, key: bytes, max_bytes: int = 60_000_000) -> None:
        self.binary = need("postfix", "postfix")
        if os.geteuid() != 0:
            missing("the right to start Postfix", "run the tests as root")
        self.root = Path(tempfile.mkdtemp(prefix="postfix-"))
        self.root.chmod(0o755)
        self.port = free_port()
        nobody = pwd.getpwnam("nobody")
        for folder in ("conf", "queue", "data", "mail", "tls"):
            (self.root / folder).mkdir()
        shutil.chown(self.root / "data", "postfix")
        os.chown(self.root / "mail", nobody.pw_uid, nobody.pw_gid)
        (self.root / "tls" / "cert.pem").write_bytes(certificate)
        (self.root / "tls" / "key.pem").write_bytes(key)
        (self.root / "mailboxes").write_text("@musterstadt.example all/\n")
        (self.root / "refusals").write_text(REFUSALS)
        (self.root / "conf" / "main.cf").write_text(MAIN.format(
            root=self.root, name=self.root.name.removeprefix("postfix-"), uid=nobody.pw_uid,
            gid=nobody.pw_gid, max_bytes=max_bytes))
        (self.root / "conf" / "master.cf").write_text(MASTER.format(port=self.port))
        self.maildir = self.root / "mail" / "all"
        self._run("start")
        wait_until(lambda: accepts(self.port), "Postfix listens")

    def _run(self, command: str) -> None:
        done = subprocess.run([self.binary, "-c", str(self.root / "conf"), command], capture_output=True,
                              text=True, timeout=60, check=False)
        if done.returncode != 0:
            log = self.root / "mail.log"
            said = log.read_text() if log.exists() else ""
            raise RuntimeError(f"postfix {command}: {done.stdout}{done.stderr}{said}")

    def _under_way(self) -> list[Path]:
        """The queue files of complete mails. Postfix sets the x bit when a mail is complete."""
        queues = [self.root / "queue" / name for name in ("incoming", "active", "deferred")]
        files = [file for queue in queues for file in queue.rglob("*")]
        return [file for file in files if file.is_file() and os.access(file, os.R_OK)
                and file.stat().st_mode & 0o100]

    def mails(self) -> list[bytes]:
        """All mails that arrived, without the header lines that each hop adds."""
        wait_until(self._idle, "Postfix has delivered what it accepted")
        files = sorted((self.maildir / "new").iterdir()) if self.maildir.exists() else []
        return [content[content.index(b"Date: "):] for content in (file.read_bytes() for file in files)]

    def _idle(self) -> bool:
        try:
            return not self._under_way()
        except FileNotFoundError:
            return False  # Postfix moved it meanwhile

    def empty(self) -> None:
        """Delete all mails that arrived."""
        self.mails()
        shutil.rmtree(self.maildir, ignore_errors=True)

    def close(self) -> None:
        """Stop the server and remove its data."""
        self._run("stop")
        shutil.rmtree(self.root, ignore_errors=True)
