"""The options of everything that asks a server, and of those who watch it."""

from __future__ import annotations

from functools import partial

from migrator.config.option import LOGGING, SECONDS, TLS, TUNING, option, options_class
from migrator.config.pace import PaceLimits, parse_bandwidth, parse_rate

_tuning = partial(option, group=TUNING)
_tls = partial(option, group=TLS)
_logging = partial(option, group=LOGGING)
BASIC, COOKIE = "basic", "cookie"
AUTHS = (BASIC, COOKIE)
"""How a server is told name and password."""


@options_class
class Connection:
    """How a server is reached, and how long it may fail."""

    timeout_s: float = _tuning(90.0, "Longest wait for the next byte of a server's response.", unit=SECONDS)
    max_attempts: int = _tuning(10, "Attempts per request.", unit="N", at_least=1)
    max_outage_s: float = _tuning(300.0, "Give up when no request has succeeded for this long.", unit=SECONDS)
    auth: str = _tuning(
        "",
        "How name and password are sent: with each request (basic), or once for a session that is renewed "
        "(cookie).",
        choices=AUTHS,
        text=BASIC,
    )
    rate: str = _tuning(
        "",
        "Read at most so many documents a second from a server, and write at most so many: the whole job.",
        unit="N/s",
    )
    bandwidth: str = _tuning(
        "",
        "Send to a server and receive from it at most so many bytes a second, as in 5MB/s: the whole job.",
        unit="BYTES/s",
    )
    head_room: float | None = _tuning(
        None,
        "Ask a server for less while another client's requests take more than FACTOR times as long as before.",
        unit="[FACTOR]",
        bare=2.0,
        at_least=1,
        text="off; 2 without FACTOR",
    )
    ca_file: str = _tls("", "PEM file of the authority that signed the server's certificate.", unit="FILE")
    client_cert: str = _tls("", "PEM file of a client certificate.", unit="FILE")
    client_key: str = _tls("", "PEM file of the client certificate's key.", unit="FILE")

    def __post_init__(self) -> None:
        _ = self.pace

    @property
    def pace(self) -> PaceLimits:
        """How fast a server may be used."""
        return PaceLimits(parse_rate(self.rate), parse_bandwidth(self.bandwidth), self.head_room or 0.0)

    def shares_of(self, parts: int) -> dict[str, str]:
        """The options of each of so many processes that do one job together."""
        docs_per_s, bytes_per_s = (each / max(1, parts) for each in self.pace[:2])
        return {
            "rate": f"{docs_per_s:g}" if docs_per_s else "",
            "bandwidth": f"{bytes_per_s:.0f}" if bytes_per_s else "",
        }

    @property
    def longest_silence_s(self) -> float:
        """How long an answer may stay away: not longer than an outage may last."""
        return min(self.timeout_s, self.max_outage_s)


@options_class
class Watch:
    """Who is told of a run that a timer starts."""

    metrics: str = _logging(
        "",
        "Write metrics of the run for Prometheus' textfile collector; the job is named after the file.",
        unit="FILE",
    )
    ping: str = _logging(
        "",
        "Notify a watchdog such as healthchecks.io: URL/start, then URL, or URL/fail with the exit code.",
        unit="URL",
    )
    webhook: str = _logging(
        "",
        "Post a small JSON when the command has ended, well or not, for a chat such as Slack or a program.",
        unit="URL",
    )
