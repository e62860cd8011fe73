"""tcpstates: trace changes of TCP connections' states, and how long each state lasted.

The process column is the task that was running when the state changed; for states that the peer changes this is
whoever the
interrupt hit, so process filters see only part of a connection.

Example:

    # osmia run tcpstates --duration 5
        PID COMM             SOURCE           SPORT DESTINATION      DPORT OLD          NEW             TOOK(MS)
       1520 curl             127.0.0.1            0 127.0.0.1         8000 CLOSE        SYN_SENT           0.000
       1520 curl             127.0.0.1        45210 127.0.0.1         8000 SYN_SENT     ESTABLISHED        0.034
"""

from __future__ import annotations

from osmia import Bytes, Char, Program, TracepointArgs, comm, ktime_ns, pid, u16, u32, u64

prog = Program("tcpstates", description="Trace changes of TCP connections' states.")

_IPPROTO_TCP = 6
_AF_INET = 2
_TCP_CLOSE = 7


@prog.event(columns={"source": "ip", "destination": "ip", "old": "tcp_state", "new": "tcp_state", "took_ns": "ms"})
class Change:
    pid: u32
    comm: Char[16]
    source: Bytes[16]
    sport: u16
    destination: Bytes[16]
    dport: u16
    old: u32
    new: u32
    took_ns: u64


_since = prog.hash(u64, u64, max_entries=65_536)
changes = prog.ring(Change)


@prog.tracepoint("sock:inet_sock_set_state")
def changed(args: TracepointArgs) -> None:
    if args.protocol != _IPPROTO_TCP:
        return
    key = u64(args.skaddr)
    now = ktime_ns()
    changes.submit(
        Change(
            pid=pid(),
            comm=comm(),
            source=args.saddr_v6,
            sport=args.sport,
            destination=args.daddr_v6,
            dport=args.dport,
            old=u32(args.oldstate),
            new=u32(args.newstate),
            took_ns=now - _since.get(key, now),
        )
    )
    if args.newstate == _TCP_CLOSE:
        del _since[key]
    else:
        _since[key] = now


if __name__ == "__main__":
    prog.run()
