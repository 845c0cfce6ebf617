"""A RabbitMQ node of the tests' own, with what it can be told while it runs.

Orders go to it by Erlang's own `erl_call`, in milliseconds: `rabbitmqctl` takes a second, and the management plugin
takes five more whenever the node ends.
"""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable

from trustme import LeafCert

from tests.support.rabbit.ports import free_ports
from tests.support.rabbit.problems import problems
from tests.support.rabbit.process import NodeProcess

_WAIT_S = 20.0
_LOOK_S = 0.05


class RabbitNode(NodeProcess):
    """One node: its life, orders to it, and its log."""

    def start(self) -> None:
        """Start it, and wait until it answers clients and knows that it has started."""
        super().start()
        self._expect(lambda: self.eval("rabbit_boot_state:get()") == "ready", "it has started")

    def url(self, vhost: str = "%2F") -> str:
        """Return the URL of a virtual host."""
        return f"amqp://guest:guest@{self.host}/{vhost}"

    def tls_url(self, vhost: str = "%2F", query: str = "", *, port: int = 0) -> str:
        """Return the URL of a virtual host with TLS. ``query``: what stands after the authority's certificate."""
        assert self.tls is not None, "the node was started without TLS"
        further = f"&{query}" if query else ""
        return f"amqps://guest:guest@127.0.0.1:{port or self.tls_port}/{vhost}?cafile={self.tls.cafile}{further}"

    def serve(self, certificate: LeafCert) -> None:
        """Have it show another certificate, to all who connect from now on."""
        assert self.tls is not None, "the node was started without TLS"
        self.tls.serve(certificate)
        self.eval("ssl:clear_pem_cache()")

    def demand_certificates(self) -> int:
        """Open one more listener, which takes nobody without a client certificate, and return its port."""
        (port,) = free_ports(1)
        self.eval(
            "{ok, Given} = application:get_env(rabbit, ssl_options),"
            "Options = lists:keystore(fail_if_no_peer_cert, 1, Given, {fail_if_no_peer_cert, true}),"
            f'ok = rabbit_networking:start_ssl_listener({{"127.0.0.1", {port}, auto}}, Options, 2)'
        )
        return port

    @property
    def management_url(self) -> str:
        """Where its management API is, when it has the plugin."""
        return f"http://127.0.0.1:{self.management_port}"

    def eval(self, expression: str) -> str:
        """Have it evaluate Erlang expressions, and return the value of the last as Erlang writes it.

        Takes milliseconds. What is not ASCII is written as numbers.
        """
        said = f'lists:flatten(io_lib:format("~0p", [begin {expression} end])).\n'
        until = time.monotonic() + _WAIT_S
        while True:
            done = self.run("erl_call", "-r", "-name", self.name, "-e", said=said)
            # Once in some thousand times, and several times in a row on a busy machine, it does not get through, says
            # nothing at all, or ends by a SIGPIPE. What is asked here may be asked twice.
            silent = not (done.stdout or done.stderr) and done.returncode in (0, -signal.SIGPIPE)
            unanswered = silent or "failed to connect" in done.stderr
            if not unanswered or time.monotonic() > until:
                break
            time.sleep(_LOOK_S)
        assert done.stdout.startswith('{ok, "'), f"{expression}: exit {done.returncode}, {done.stdout}{done.stderr}"
        return done.stdout.removeprefix('{ok, "').removesuffix('"}')

    def until(self, expression: str) -> None:
        """Wait until an Erlang expression is true for it; one that fails is not."""
        safe = f"case catch begin {expression} end of true -> true; _ -> false end"
        self._expect(lambda: self.eval(safe) == "true", expression)

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` and return what it wrote. It takes about a second."""
        done = self.run("rabbitmqctl", "--quiet", *arguments)
        assert done.returncode == 0, f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def new_vhost(self, prefix: str = "test-") -> str:
        """Make a virtual host that `guest` may use, and return its name."""
        name = f"{prefix}{uuid.uuid4().hex[:12]}"
        self._add_vhost(name)
        return name

    def drop_vhost(self, name: str) -> None:
        """Delete a virtual host with all that is in it; its connections are closed.

        RabbitMQ gives up on queues that take it too long, after which it is asked once more.
        """
        known = _binary(name)
        self.until(f"catch rabbit_vhost:delete({known}, {_BY}), not rabbit_vhost:exists({known})")

    def add_user(self, name: str, password: str) -> None:
        """Add a user without any permission."""
        arguments = ", ".join(map(_binary, (name, password)))
        self.eval(f"ok = rabbit_auth_backend_internal:add_user({arguments}, {_BY})")

    def tag_user(self, name: str, tag: str) -> None:
        """Give a user its only tag, as ``management``."""
        self.eval(f"ok = rabbit_auth_backend_internal:set_tags({_binary(name)}, [{tag}], {_BY})")

    def delete_user(self, name: str) -> None:
        """Delete a user; its connections stay open."""
        self.eval(f"rabbit_auth_backend_internal:delete_user({_binary(name)}, {_BY})")

    def allow(self, user: str, vhost: str, pattern: str = ".*") -> None:
        """Give a user the permissions to configure, write and read what matches."""
        self.permit(user, vhost, configure=pattern, write=pattern, read=pattern)

    def permit(self, user: str, vhost: str, *, configure: str, write: str, read: str) -> None:
        """Give a user permissions, each its own pattern. Channels that are open may go on by what they asked before."""
        arguments = ", ".join(map(_binary, (user, vhost, configure, write, read)))
        self.eval(f"ok = rabbit_auth_backend_internal:set_permissions({arguments}, {_BY})")

    def close_connections(self, reason: str = "bye") -> None:
        """Close every connection to it, as an administrator does (320); returns when their clients have heard of it."""
        self.eval(
            "Pids = rabbit_networking:local_connections(),"
            f'[catch rabbit_reader:shutdown(Pid, "{reason}") || Pid <- Pids],'  # one may go by itself meanwhile
            "Gone = fun Gone(_, []) -> true; Gone(0, _) -> false; Gone(Turns, Left) -> timer:sleep(5),"
            "Gone(Turns - 1, [Pid || Pid <- Left, is_process_alive(Pid)]) end,"
            "true = Gone(2000, Pids)"
        )

    def alarm_disk(self, on: bool) -> None:
        """Have it believe that its disk is full, or not any more; it is so when this returns."""
        self._alarm("disk", on)

    def alarm_memory(self, on: bool) -> None:
        """Have it believe that its memory is used up, or not any more; it is so when this returns."""
        self._alarm("memory", on)

    def write_down(self) -> None:
        """Have it write what it would write within seconds.

        A queue that was declared a second or two ago is lost by :meth:`kill`, with messages that were confirmed:
        RabbitMQ notes it down that much later (3.10.8 and 4.0.5; `ra_directory` of quorum queues, the log of Mnesia).
        """
        self.eval("ok = mnesia:sync_log(), [ok = dets:sync(Table) || Table <- dets:all()]")

    def empty(self) -> None:
        """Have it as it was at first: without alarms, and with nothing but `guest` and an empty virtual host `/`."""
        self.resume()
        self.alarm_disk(False)
        self.alarm_memory(False)
        self.eval(f"[rabbit_vhost:delete(Name, {_BY}) || Name <- rabbit_vhost:list_names()]")
        users = "[proplists:get_value(user, User) || User <- rabbit_auth_backend_internal:list_users()]"
        guest = _binary("guest")
        self.eval(f"[rabbit_auth_backend_internal:delete_user(Name, {_BY}) || Name <- {users}, Name =/= {guest}]")
        self._add_vhost("/")

    def log_position(self) -> int:
        """Return where its log ends now, for :meth:`problems_since`."""
        self._flush_log()
        return len(self._logged())

    def problems_since(self, position: int) -> list[str]:
        """Return what it has logged about channel and connection errors since then."""
        self._flush_log()
        return problems(self._logged(position).decode(errors="replace"))

    def _add_vhost(self, name: str) -> None:
        self.eval(f"ok = rabbit_vhost:add({_binary(name)}, {_BY})")
        self.allow("guest", name)

    def _flush_log(self) -> None:
        """It writes its log seconds late, if nobody asks."""
        if self.running and not self.paused:
            self.eval("[catch rabbit_logger_std_h:filesync(Handler) || Handler <- logger:get_handler_ids()]")

    def _alarm(self, resource: str, on: bool) -> None:
        """As its monitors do it, which look at the change of a measured value and not at the alarm."""
        alarm = f"{{resource_limit, {resource}, node()}}"
        self.eval(f"rabbit_alarm:set_alarm({{{alarm}, []}})" if on else f"rabbit_alarm:clear_alarm({alarm})")
        is_on = f"lists:keymember({alarm}, 1, rabbit_alarm:get_alarms())"
        self._expect(lambda: self.eval(is_on) == str(on).lower(), f"the {resource} alarm is {'on' if on else 'off'}")

    def _expect(self, holds: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + _WAIT_S
        while not holds():
            assert time.monotonic() < until, f"within {_WAIT_S:g} s, not true of {self.host}: {what}"
            time.sleep(_LOOK_S)


def _binary(text: str) -> str:
    """Return text as Erlang writes a binary."""
    return "<<" + ", ".join(map(str, text.encode())) + ">>"


_BY = _binary("the tests")
