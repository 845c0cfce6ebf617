"""The process of a RabbitMQ node: free ports, its own folder, name and cookie, and it ends with its owner.

RabbitMQ's own scripts are run: the wrapper on PATH would change to the system's user and folders. The node is in a
process group of its own, and a watching child (`watch`) ends that group and removes the folder when this process is
gone, however it went. What the node is told while it runs is in `node`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.freezing import freeze_group
from tests.support.rabbit import watch
from tests.support.rabbit.certificates import TlsFiles
from tests.support.rabbit.installation import SYSTEM, Installation
from tests.support.rabbit.ports import free_ports

_START_S = 90.0
_STOP_S = 20.0
_LOOK_S = 0.05
_TRIES = 3
_PORT_TAKEN = ("eaddrinuse", "already in use", "in use by")

_CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
loopback_users.guest = true
vm_memory_calculation_strategy = allocated
vm_memory_high_watermark.absolute = 2GB
disk_free_limit.absolute = 1MB
"""
_MANAGEMENT = """\
management.tcp.ip = 127.0.0.1
management.tcp.port = {port}
collect_statistics_interval = 1000
"""
# A client may show a certificate, and log in by it; a listener that demands one is opened by `node`.
_TLS = """\
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {files}/authority.pem
ssl_options.certfile = {files}/server.pem
ssl_options.keyfile = {files}/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
ssl_cert_login_from = common_name
management.ssl.ip = 127.0.0.1
management.ssl.port = {management_port}
management.ssl.cacertfile = {files}/authority.pem
management.ssl.certfile = {files}/server.pem
management.ssl.keyfile = {files}/server.key
"""


class NodeProcess:
    """A node that can be started, stopped, killed and paused, and started again in its folder, on its port.

    ``version``: ``system``, or the folder of a chroot. ``management``: with the management plugin, which makes it slow
    to stop. ``tls``: with TLS, too, and then with ``management``; see `certificates`. Nothing runs before
    :meth:`start`. All methods block.
    """

    def __init__(self, version: str = SYSTEM, *, management: bool = False, tls: bool = False) -> None:
        self._management = management
        self.tls = TlsFiles() if tls else None
        self._installation = Installation.find(version)
        self.name = f"taskq-{uuid.uuid4().hex[:12]}@127.0.0.1"  # no host name, and so nothing to look up
        self._folder: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[str] | None = None
        self._paused = False
        self._choose_ports()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def host(self) -> str:
        """`address:port` of its AMQP listener; the same for all its life."""
        return f"127.0.0.1:{self.port}"

    @property
    def folder(self) -> Path:
        """All that it writes; made at first use, gone with :meth:`close` and with this process."""
        if self._folder is None:
            self._folder = self._installation.new_folder()
            command = [sys.executable, "-I", "-S", watch.__file__, str(self._folder)]
            self._watch = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
            )
            for name in ("home", "mnesia", "log"):
                (self._folder / name).mkdir()
            plugins = ["rabbitmq_management"] if self._management else []
            if self.tls is not None:
                plugins.append("rabbitmq_auth_mechanism_ssl")
                self.tls.write(self._folder / "tls")
            (self._folder / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n")
            (self._folder / "advanced.config").write_text("[].\n")
        return self._folder

    @property
    def running(self) -> bool:
        """Whether it was started, and has not ended since; also while it is paused."""
        return self._server is not None and self._server.poll() is None

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def log(self) -> str:
        """All that it has logged so far, over all its starts."""
        return self._logged().decode(errors="replace")

    def start(self) -> None:
        """Start it, and wait until it answers an AMQP handshake."""
        assert not self.running, "it runs already"
        first = not (self.folder / "rabbitmq.conf").exists()
        for _ in range(_TRIES):
            self.kill()
            self._launch()
            if self._comes_up():
                return
            said = self._console()
            if not any(text in said for text in _PORT_TAKEN):
                break
            if first:
                self._choose_ports()
        raise AssertionError(f"the node does not come up:\n{self._console()[-3000:]}\n{self.log[-3000:]}")

    def stop(self) -> None:
        """End it in order, as an administrator does; harmless when it is not running."""
        self.resume()
        if self._server is not None and self.running:
            self._server.terminate()
            try:
                self._server.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self) -> None:
        """SIGKILL all of it; harmless twice."""
        for process in (self._server, self._epmd):
            if process is not None:
                _signal(process, signal.SIGKILL)
                process.wait()
                self._tell_watch(f"-{process.pid}")
        self._server = self._epmd = None
        self._paused = False

    def close(self) -> None:
        """Kill it and remove its folder; harmless twice. It cannot be started again."""
        self.kill()
        if self._watch is not None:
            assert self._watch.stdin is not None
            self._watch.stdin.close()
            self._watch.wait()
            self._watch = None

    def pause(self) -> None:
        """Have it do nothing (SIGSTOP): the system still takes connections for it, and nobody answers."""
        assert self._server is not None, "it does not run"
        freeze_group(self._server.pid)
        self._paused = True

    def resume(self) -> None:
        """Have it go on; harmless when it is not paused."""
        if self._server is not None and self._paused:
            _signal(self._server, signal.SIGCONT)
        self._paused = False

    def run(self, program: str, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program of its installation that talks to it."""
        assert self.running, "the node does not run"
        assert not self._paused, "the node is paused, and cannot answer"
        return subprocess.run(
            self._installation.command(program, *arguments),
            env=self._environment(),
            input=said,
            capture_output=True,
            text=True,
            check=False,
            timeout=_START_S,
        )

    def _choose_ports(self) -> None:
        self.port, self.management_port, self._dist_port, self._epmd_port, *tls = free_ports(6)
        self.tls_port, self.tls_management_port = tls

    @property
    def erlang_arguments(self) -> str:
        """The arguments of its virtual machine."""
        return "+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}"

    def _configuration(self) -> str:
        configuration = _CONFIGURATION.format(port=self.port)
        if self._management:
            configuration += _MANAGEMENT.format(port=self.management_port)
        if self.tls is not None:
            files = self._installation.inside(self.folder / "tls")
            configuration += _TLS.format(files=files, port=self.tls_port, management_port=self.tls_management_port)
        return configuration

    def _begin(self) -> None:
        """Start what has to be there before the node."""
        self._epmd = self._group(self._installation.command("epmd", "-port", str(self._epmd_port)))

    def _launch(self) -> None:
        folder = self.folder
        (folder / "rabbitmq.conf").write_text(self._configuration())
        self._begin()
        with (folder / "log" / "console").open("wb") as output:
            self._server = self._group(self._installation.command("rabbitmq-server"), output.fileno())

    def _group(self, command: list[str], output: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own, that ends with us."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,  # where Erlang dumps what it was doing when it crashed
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._tell_watch(f"+{process.pid}")
        return process

    def _tell_watch(self, line: str) -> None:
        assert self._watch is not None
        assert self._watch.stdin is not None
        print(line, file=self._watch.stdin, flush=True)

    def _environment(self) -> dict[str, str]:
        folder = self._installation.inside(self.folder)
        return {
            "PATH": self._installation.path,
            "LANG": "C.UTF-8",
            "HOME": f"{folder}/home",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_USE_LONGNAME": "true",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_CONFIG_FILES": f"{folder}/none/*.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/none",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": self.erlang_arguments,
        }

    def _logged(self, position: int = 0) -> bytes:
        path = self.folder / "log" / f"{self.name}.log"
        return path.read_bytes()[position:] if path.exists() else b""

    def _console(self) -> str:
        return (self.folder / "log" / "console").read_text(errors="replace")

    def _comes_up(self) -> bool:
        until = time.monotonic() + _START_S
        while self.running and time.monotonic() < until:
            if self._answers():
                return True
            time.sleep(_LOOK_S)
        return False

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return len(connection.recv(8)) > 0
        except OSError:
            return False


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass
